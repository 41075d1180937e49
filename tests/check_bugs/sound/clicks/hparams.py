EPOCHS = 4

hparams = {
    "trainer": {"init": {"max_epochs": EPOCHS, "log_every_n_steps": 1}},
    "config": {"channels": 6, "lr": 1e-2, "batch_size": 10, "epochs": EPOCHS},
}
