hparams = {
    "task": {"project_name": "fitted"},
    "config": {"kind": "linear", "c": 1.0, "trees": 4},
}
