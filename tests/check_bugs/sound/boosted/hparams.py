hparams = {
    "task": {"project_name": "bugs"},
    "config": {"rate": 0.1, "rounds": 30},
}
