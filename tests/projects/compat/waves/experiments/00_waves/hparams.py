hparams = {
    "task": {
        "project_name": "waves",
        "auto_connect_frameworks": {"matplotlib": False},
    },
    "checkpoint": {
        "checkpoint_task_id": None,
        # "checkpoint_name": "last",
        # "weights_only": False,
    },
    "trainer": {
        "init": {
            "enable_progress_bar": False,
            "max_epochs": 3,
            "log_every_n_steps": 2,
        },
        "fit": {},
        "predict": {},
    },
    "config": {
        "data": "data/processed/short_waves.npz",
        "n_features": 8,
        "learning_rate": 1.5 * 1e-2,
        "weight_decay": 0.01,
        "num_workers": 1,
        "batch_size": 8,
        "patience": 5,
        "milestones": [1, 2],
        "gamma": 0.2,
        "monitor": "loss/validate",
    },
}
