hparams = {
    "seed": 7,
    "trainer": {"init": {"devices": 1, "max_epochs": 4, "log_every_n_steps": 2}},
    "config": {"latent_dim": 16, "lr": 2e-3},
}
