"""Nothing is wrong with it; `fault` plants one."""

hparams = {
    "task": {"project_name": "tests"},
    "trainer": {
        "init": {"max_epochs": 20, "accelerator": "cpu", "enable_progress_bar": False},
        "validate": None,
    },
    "config": {"fault": None, "workers": 0},
}
