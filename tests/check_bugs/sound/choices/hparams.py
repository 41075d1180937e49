hparams = {
    "trainer": {"init": {"max_epochs": 5, "log_every_n_steps": 2}},
    "config": {
        "augment": False,
        "noise": 0.1,
        "lr": 0.001,
        "scheduler": None,
        "scheduler_gamma": 0.9,
        "model": "small",
        "small": {"h": 8},
        "large": {"h": 64, "extra": 3},
        "export": {"opset": 17, "names": ["a"]},
    },
}
