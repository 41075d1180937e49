hparams = {
    "seed": 42,
    "trainer": {"init": {"max_epochs": 4, "log_every_n_steps": 1}},
    "config": {"lr": 1e-2},
}
