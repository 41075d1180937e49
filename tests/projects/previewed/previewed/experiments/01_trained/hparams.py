hparams = {
    "trainer": {"init": {"max_epochs": 1, "limit_train_batches": 2, "accelerator": "cpu"}},
    "seed": 5,
    "config": {"workers": 0},
}
