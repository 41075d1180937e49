hparams = {
    "trainer": {"init": {"max_epochs": 4, "log_every_n_steps": 1}},
    "config": {"terms": 6, "iterations": 5},
}
