hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 2}},
    "config": {
        "folds": 5,
        "fold": 0,
        "fold_seed": 7,
        "batch_size": 16,
        "model": {"embedding": 2, "hidden": 12, "decay": 1e-4},
    },
}
