hparams = {
    "seed": 1234,
    "trainer": {"init": {"max_epochs": 4, "log_every_n_steps": 4}},
    "config": {"lr": 3e-3, "batch_size": 16},
}
