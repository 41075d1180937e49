hparams = {
    "trainer": {"init": {"max_epochs": 4, "log_every_n_steps": 2}},
    "config": {"lr": 2e-3, "width": 8, "temperature": 0.5},
}
