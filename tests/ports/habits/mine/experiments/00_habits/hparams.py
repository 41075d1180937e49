hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 1}},
    "config": {"lr": 0.01},
}
