"""Networks of which a part is not trained, not known, or asleep."""

from check_bugs.planting import Bug

BUGS = (
    Bug(
        "layer_that_is_not_used",
        "classes",
        "no-gradient",
        "middle",
        main=(("        h = self.middle(h)\n", ""),),
    ),
    Bug(
        "layer_that_is_not_used_in_lightning",
        "photos",
        "no-gradient",
        "extra",
        main=(
            (
                "self.pool = nn.AdaptiveAvgPool2d(1)",
                "self.pool = nn.AdaptiveAvgPool2d(1)\n        self.extra = nn.Linear(2, 2)",
            ),
        ),
    ),
    Bug(
        "output_detached_in_the_middle",
        "tuned",
        "no-gradient",
        "backbone.last",
        main=(("self.head(self.backbone(x))", "self.head(self.backbone(x).detach())"),),
    ),
    Bug(
        "through_numpy_in_the_middle",
        "classes",
        "no-gradient",
        "body",
        main=(("h = self.middle(h)", "h = self.middle(torch.tensor(h.tolist()))"),),
    ),
    Bug(
        "layers_in_a_list",
        "typed",
        "unregistered",
        "nn.ModuleList",
        main=(
            (
                "nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])",
                "[nn.Linear(width, width) for _ in range(layers)]",
            ),
        ),
    ),
    Bug(
        "layers_in_a_dict",
        "typed",
        "unregistered",
        "dict",
        main=(
            (
                "nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])",
                "{i: nn.Linear(width, width) for i in range(layers)}",
            ),
            ("in self.blocks:", "in self.blocks.values():"),
        ),
    ),
    Bug(
        "tensor_that_is_no_parameter",
        "spirals",
        "unregistered",
        "nn.Parameter",
        main=(
            (
                "nn.Parameter(torch.tensor(temperature))",
                "torch.tensor(temperature, requires_grad=True)",
            ),
        ),
    ),
    Bug(
        "all_is_frozen",
        "classes",
        "optimizer",
        "empty parameter list",
        main=(
            (
                "    module = TrainLabModule(",
                "    model.requires_grad_(False)\n    module = TrainLabModule(",
            ),
        ),
        level=("error",),
    ),
    Bug(
        "weights_that_begin_as_zeros",
        "heights",
        "zero-gradient",
        "zero",
        main=(
            (
                "    optimizer = {\n",
                "    [nn.init.zeros_(each) for each in model.parameters()]\n    optimizer = {\n",
            ),
        ),
    ),
    Bug(
        "dead_units",
        "classes",
        "dead-units",
        "middle.1",
        main=(
            (
                "        self.head =",
                "        nn.init.constant_(self.middle[0].bias, -50.0)\n        self.head =",
            ),
            ("        return self.head(h)", "        return self.head(h + 0.1 * self.body(x))"),
        ),
    ),
    Bug(
        "dropout_of_everything",
        "words",
        "dropout",
        "p=1",
        hparams=(('"dropout": 0.2', '"dropout": 1.0'),),
    ),
    Bug(
        "network_in_eval_mode",
        "photos",
        "eval-mode",
        "features.1",
        main=(
            (
                '    return {\n        "module": model,\n        "train',
                '    model.eval()\n    return {\n        "module": model,\n        "train',
            ),
        ),
    ),
    Bug(
        "dropout_in_eval_mode",
        "classes",
        "eval-mode",
        "body.2",
        main=(("    module = TrainLabModule(", "    model.eval()\n    module = TrainLabModule("),),
    ),
    Bug(
        "super_init_forgotten",
        "clicks",
        "configuration",
        "__init__",
        main=(("        super().__init__()\n        self.conv", "        self.conv"),),
        level=("error",),
    ),
    Bug(
        "moved_to_a_gpu_by_hand",
        "copying",
        "step",
        "meta",
        main=(
            (
                "return self.decoder(self.encoder(x))",
                'return self.decoder(self.encoder(x)).to("meta").sum().item()',
            ),
        ),
        level=("error",),
    ),
    Bug(
        "class_token_overwritten_in_place",
        "classes",
        "backward",
        "inplace",
        main=(
            (
                "        h = self.middle(h)\n",
                "        h = torch.exp(h)\n        h += 1\n        h = self.middle(h)\n",
            ),
        ),
        level=("error",),
    ),
)
