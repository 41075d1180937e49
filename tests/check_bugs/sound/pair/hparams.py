hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 2}},
    "config": {"latent": 4, "lr": 2e-4},
}
