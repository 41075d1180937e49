hparams = {
    "trainer": {"init": {"max_epochs": 4, "log_every_n_steps": 2}},
    "config": {"depth": 3, "drop": 0.0, "lr": 3e-3},
}
