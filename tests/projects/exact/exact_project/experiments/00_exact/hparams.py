"""Fifteen batches in three epochs; a row for every other one."""

hparams = {
    "task": {"project_name": "tests"},
    "checkpoint": {"every_n_steps": 1, "keep": 3},
    "trainer": {
        "init": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "log_every_n_steps": 2,
            "accumulate_grad_batches": 1,
            "val_check_interval": 1.0,
            "enable_progress_bar": False,
        }
    },
    "seed": 3,
    "config": {
        "num_workers": 0,
        "persistent": False,
        "timeout": 0.0,
        "pause": 0.0,
        "scheduler": "plateau",
        "stopping": {"patience": 50, "min_delta": 0.0},
        "ema": False,
        "tests": False,
    },
}
