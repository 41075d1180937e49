hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 2}},
    "config": {"width": 8, "dropout": 0.2, "lr": 1e-3, "batch_size": 8},
}
