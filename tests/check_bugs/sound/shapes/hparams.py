hparams = {
    "trainer": {"init": {"max_epochs": 2, "log_every_n_steps": 1, "gradient_clip_val": 1.0}},
    "config": {"width": 4, "lr": 0.02, "batch_size": 6},
}
