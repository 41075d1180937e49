hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 4}},
    "config": {"width": 4, "lr": 2e-3, "batch": 16, "max_epochs": 3},
}
