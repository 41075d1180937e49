hparams = {"trainer": {"init": {"max_epochs": 5, "log_every_n_steps": 2}}, "config": {"lr": 0.001}}
