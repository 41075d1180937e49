hparams = {
    "trainer": {"init": {"max_epochs": 4, "log_every_n_steps": 3}},
    "config": {"lr": 1e-3, "epochs": 4},
}
