hparams = {
    "task": {"project_name": "bugs"},
    "config": {"neighbors": [1, 5, 40], "folds": 4},
}
