hparams = {
    "trainer": {"init": {"max_epochs": 5, "log_every_n_steps": 2}},
    "config": {"d_model": 16, "warmup": 10},
}
