hparams = {
    "task": {"project_name": "bugs"},
    "config": {"components": 6, "c": 0.5},
}
