"""Losses that are given what they do not take, or that lead nowhere."""

from check_bugs.planting import Bug

BUGS = (
    Bug(
        "softmax_before_cross_entropy",
        "classes",
        "softmax-before-loss",
        "cross_entropy",
        main=(("return self.head(h)", "return self.head(h).softmax(dim=1)"),),
    ),
    Bug(
        "softmax_layer_before_cross_entropy",
        "photos",
        "softmax-before-loss",
        "cross_entropy",
        main=(
            (
                "nn.Linear(2 * width, NUM_CLASSES)",
                "nn.Sequential(nn.Linear(2 * width, 3), nn.Softmax(1))",
            ),
        ),
    ),
    Bug(
        "sigmoid_before_cross_entropy",
        "shapes",
        "sigmoid-before-loss",
        "cross_entropy",
        main=(("return self.net(x)", "return torch.sigmoid(self.net(x))"),),
    ),
    Bug(
        "relu_before_cross_entropy",
        "classes",
        "relu-before-loss",
        "cross_entropy",
        main=(("return self.head(h)", "return torch.relu(self.head(h))"),),
    ),
    Bug(
        "sigmoid_twice",
        "clicks",
        "sigmoid-before-loss",
        "binary_cross_entropy_with_logits",
        main=((".squeeze(1)", ".squeeze(1).sigmoid()"),),
    ),
    Bug(
        "sigmoid_twice_for_labels",
        "tagged",
        "sigmoid-before-loss",
        "binary_cross_entropy_with_logits",
        main=(("nn.Linear(20, LABELS))", "nn.Linear(20, LABELS), nn.Sigmoid())"),),
    ),
    Bug(
        "softmax_before_nll",
        "words",
        "no-log-softmax",
        "nll_loss",
        main=(("torch.log_softmax(", "torch.softmax("),),
    ),
    Bug(
        "raw_scores_for_nll",
        "words",
        "no-log-softmax",
        "nll_loss",
        main=(
            (
                "torch.log_softmax(self.out(self.drop(state[-1])), dim=-1)",
                "self.out(self.drop(state[-1]))",
            ),
        ),
    ),
    Bug(
        "raw_scores_for_bce",
        "copying",
        "no-sigmoid",
        "binary_cross_entropy",
        main=(("nn.Linear(code, 64), nn.Sigmoid(),", "nn.Linear(code, 64),"),),
    ),
    Bug(
        "softmax_over_the_samples",
        "classes",
        "softmax-over-samples",
        "dim=1",
        main=(
            (
                "nn.CrossEntropyLoss(),",
                "lambda y_pred, y: nn.functional.nll_loss(y_pred.log(), y),",
            ),
            ("return self.head(h)", "return self.head(h).softmax(dim=0)"),
        ),
    ),
    Bug(
        "loss_with_a_minus",
        "photos",
        "loss-sign",
        "cross_entropy",
        main=(("loss = F.cross_entropy(logits, y)", "loss = -F.cross_entropy(logits, y)"),),
    ),
    Bug(
        "loss_with_a_minus_in_a_function",
        "heights",
        "loss-sign",
        "mse_loss",
        main=(
            ("loss = nn.MSELoss()", "loss = lambda y_pred, y: -nn.functional.mse_loss(y_pred, y)"),
        ),
    ),
    Bug(
        "detached_loss",
        "photos",
        "backward",
        "does not require grad",
        main=(("        return loss\n", "        return loss.detach()\n"),),
        level=("error",),
    ),
    Bug(
        "loss_as_a_number",
        "words",
        "step",
        "training_step",
        main=(("        return loss\n", "        return loss.item()\n"),),
        level=("error",),
    ),
    Bug(
        "step_without_return",
        "photos",
        "no-loss",
        "training_step",
        main=(("        return loss\n", ""),),
    ),
    Bug(
        "trained_under_no_grad",
        "photos",
        "backward",
        "does not require grad",
        main=(("    def training_step(", "    @torch.no_grad()\n    def training_step("),),
        level=("error",),
    ),
    Bug(
        "argmax_in_the_loss",
        "typed",
        "backward",
        "does not require grad",
        main=(
            (
                "def distance(y_pred, y):\n",
                "def distance(y_pred, y):\n    y_pred = y_pred.argmax(1, True).float()\n",
            ),
        ),
        level=("error",),
    ),
    Bug(
        "a_loss_for_each_sample",
        "heights",
        "step",
        "single value",
        main=(("nn.MSELoss()", 'nn.MSELoss(reduction="none")'),),
        level=("error",),
    ),
    Bug(
        "class_of_a_loss_for_an_instance",
        "classes",
        "configuration",
        "instance",
        main=(("nn.CrossEntropyLoss()", "nn.CrossEntropyLoss"),),
        level=("error",),
    ),
    Bug(
        "labels_as_floats_for_cross_entropy",
        "classes",
        "loss",
        "Long",
        main=(("return int(self.classes", "return float(self.classes"),),
        level=("error",),
    ),
    Bug(
        "labels_as_integers_for_bce",
        "clicks",
        "loss",
        "Float",
        main=(("mean(axis=1) > 0).astype(np.float32)", "mean(axis=1) > 0).astype(np.int64)"),),
        level=("error",),
    ),
    Bug(
        "logarithm_of_negative_numbers",
        "steps",
        "loss-not-finite",
        "nan",
        main=(
            (
                "log_density = -0.5 * distance**2 - log_scale",
                "log_density = torch.log(-1 - distance**2) - log_scale",
            ),
        ),
        level=("error",),
    ),
)
