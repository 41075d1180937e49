hparams = {
    "trainer": {"init": {"max_steps": 30, "log_every_n_steps": 2}},
    "config": {"lr": 1e-4, "batch_size": 20},
}
