hparams = {
    "trainer": {"init": {"max_steps": 20, "log_every_n_steps": 5}},
    "config": {"hidden": 8, "lr": 1e-3, "length": 200, "batch_size": 10},
}
