"""Shapes that do not fit, and those that fit by accident."""

from check_bugs.planting import Bug

BUGS = (
    Bug(
        "column_against_row",
        "heights",
        "broadcast",
        "mse_loss",
        main=(
            ("sum(dim=1, keepdim=True) + 0.1 * x[:, :1] ** 2", "sum(dim=1)"),
            (", metrics=metrics", ""),
        ),
        level=("error",),
    ),
    Bug(
        "row_against_column",
        "clicks",
        "broadcast",
        "l1_loss",
        main=(
            ("nn.BCEWithLogitsLoss()", "nn.SmoothL1Loss()"),
            (".squeeze(1)", ""),
            ('metrics={"accuracy": BinaryAccuracy(), "auroc": BinaryAUROC()},', ""),
        ),
        level=("error",),
    ),
    Bug(
        "column_against_row_in_a_loss_of_ones_own",
        "typed",
        "broadcast",
        "difference",
        main=(
            ("torch.stack([each.sum(), each.prod()])", "each.sum()"),
            ("self.end = nn.Linear(width, 2)", "self.end = nn.Linear(width, 1)"),
            (
                "return (y_pred - y).pow(2).sum(dim=1).sqrt().mean()",
                "return (y_pred - y).abs().mean()",
            ),
        ),
    ),
    Bug(
        "lost_channel_of_pictures",
        "copying",
        "broadcast",
        "mse_loss",
        main=(
            ('{"y": self.images[i]}', '{"y": self.images[i, 0]}'),
            ("nn.BCELoss()", "nn.MSELoss()"),
        ),
        level=("error",),
    ),
    Bug(
        "hits_counted_over_all_pairs",
        "words",
        "broadcast",
        "comparison",
        main=(("scores.argmax(dim=1) == label", "scores.argmax(dim=1, keepdim=True) == label"),),
    ),
    Bug(
        "too_many_inputs",
        "classes",
        "step",
        "mat1 and mat2",
        main=(("nn.Linear(8, width)", "nn.Linear(10, width)"),),
        level=("error",),
    ),
    Bug(
        "channels_last",
        "photos",
        "step",
        "channels",
        main=(("return (image - 0.45) / 0.22,", "return (image.permute(1, 2, 0) - 0.45) / 0.22,"),),
        level=("error",),
    ),
    Bug(
        "forgotten_flatten",
        "photos",
        "step",
        "shape",
        main=(("self.pool(x).flatten(1)", "self.pool(x)"),),
        level=("error",),
    ),
    Bug(
        "batch_mixed_into_features",
        "classes",
        "loss",
        "batch_size",
        main=(("h = self.body(x)", "h = self.body(x.view(-1, 4).repeat(1, 2))"),),
        level=("error",),
    ),
    Bug(
        "targets_in_a_column_for_cross_entropy",
        "photos",
        "step",
        "target",
        main=(
            (
                "F.cross_entropy(logits, y)\n        self.log",
                "F.cross_entropy(logits, y.unsqueeze(1))\n        self.log",
            ),
        ),
        level=("error",),
    ),
    Bug(
        "a_pair_in_place_of_metadata",
        "heights",
        "step",
        'md["y"]',
        main=(('return x, {"y": y}', "return x, y"),),
        level=("error",),
    ),
    Bug(
        "no_target_in_the_metadata",
        "clicks",
        "step",
        'no "y"',
        main=(('{"y": torch.tensor(self.y[i])}', '{"label": torch.tensor(self.y[i])}'),),
        level=("error",),
    ),
    Bug(
        "weights_for_too_few_classes",
        "classes",
        "loss",
        "weight",
        main=(("nn.CrossEntropyLoss()", "nn.CrossEntropyLoss(weight=torch.ones(3))"),),
        level=("error",),
    ),
    Bug(
        "last_batch_of_one_sample",
        "tuned",
        "one-sample-batch",
        "backbone.norm",
        main=(
            ("sorted_points(60, 0)", "sorted_points(61, 0)"),
            (", drop_last=True", ""),
            ("        self.backbone.norm.eval()", "        pass"),
        ),
        level=("error",),
    ),
)
