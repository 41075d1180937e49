hparams = {
    "trainer": {
        "init": {
            "max_epochs": 6,
            "log_every_n_steps": 1,
            "accumulate_grad_batches": 2,
            "gradient_clip_val": 1.0,
        }
    },
    "config": {"width": 16, "length": 12, "lr": 3e-3, "warmup": 4},
}
