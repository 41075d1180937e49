hparams = {
    "trainer": {"init": {"max_epochs": 2, "log_every_n_steps": 5}},
    "config": {"lr": 1e-3, "batch_size": 24},
}
