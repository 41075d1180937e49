hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 2}},
    "config": {"temperature": 0.2, "lr": 1e-3},
}
