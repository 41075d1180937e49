hparams = {
    "trainer": {"init": {"max_epochs": 2, "log_every_n_steps": 1}},
    "config": {"entropy": 0.01, "episodes": 10, "lr": 1e-3},
}
