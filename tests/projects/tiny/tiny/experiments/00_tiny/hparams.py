"""Eight batches in two epochs, a checkpoint at each."""

hparams = {
    "task": {"project_name": "tests"},
    "checkpoint": {"every_n_steps": 1, "keep": 100},
    "trainer": {
        "init": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
        }
    },
    "config": {
        "module": "lab",
        "width": 4,
        "depth": 1,
        "extra": False,
        "num_workers": 0,
        "pause": 0.0,
        "validation_pause": 0.0,
        "building": 0.0,
        "fault": "",
    },
}
