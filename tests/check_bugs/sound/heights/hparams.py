hparams = {
    "trainer": {"init": {"max_epochs": 6, "log_every_n_steps": 5}},
    "config": {"width": 12, "lr": 0.05},
}
