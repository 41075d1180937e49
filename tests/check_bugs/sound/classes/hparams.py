hparams = {
    "task": {"project_name": "bugs"},
    "trainer": {"init": {"max_epochs": 5, "log_every_n_steps": 2}},
    "config": {"lr": 1e-3, "weight_decay": 0.02, "width": 16, "dropout": 0.1, "batch_size": 20},
}
