hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 2}},
    "config": {"factor": 0.01, "rare": 3.0, "optimizer": {"lr": 3e-3, "weight_decay": 0.05}},
}
