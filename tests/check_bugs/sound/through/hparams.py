hparams = {
    "trainer": {"init": {"max_epochs": 5, "log_every_n_steps": 2}},
    "config": {
        "encoder": {
            "d_model": 16,
            "nhead": 2,
            "dim_feedforward": 32,
            "norm_first": True,
            "dropout": 0.0,
        },
        "optimizer": {"lr": 0.001, "weight_decay": 0.1},
        "loader": {"batch_size": 8, "num_workers": 0, "pin_memory": False},
    },
}
