hparams = {
    "trainer": {"init": {"max_epochs": 2, "log_every_n_steps": 2}},
    "config": {"lr": 0.05},
}
