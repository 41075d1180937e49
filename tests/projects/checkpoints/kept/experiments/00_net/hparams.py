"""Two epochs of four batches; a checkpoint at each epoch's end."""

hparams = {
    "task": {"project_name": "tests"},
    "trainer": {
        "init": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
        }
    },
    "seed": 3,
    "config": {
        "width": 4,
        "outputs": 1,
        "validates": True,
        "callbacks": [],
        "bad": None,
        "out": "out.json",
    },
}
