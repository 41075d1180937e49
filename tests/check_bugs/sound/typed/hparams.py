hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 4}},
    "config": {"width": 8, "optimizer": {"lr": 2e-3}},
}
