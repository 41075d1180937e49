hparams = {
    "trainer": {
        "init": {
            "max_epochs": 5,
            "log_every_n_steps": 2,
            "accelerator": "cpu",
            "devices": 2,
            "strategy": "ddp",
        }
    },
    "config": {"lr": 0.01, "epochs": 5, "devices": 2},
}
