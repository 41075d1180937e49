"""Twelve batches in three epochs, a checkpoint every five."""

hparams = {
    "task": {"project_name": "tests"},
    "checkpoint": {"every_n_steps": 5, "keep": 100},
    "trainer": {
        "init": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
        }
    },
    "config": {"num_workers": 0, "kill_at": 0, "mistake": False, "pause": 0.0},
}
