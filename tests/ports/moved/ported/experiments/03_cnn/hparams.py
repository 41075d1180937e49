hparams = {
    "seed": 0,
    "trainer": {"init": {"max_epochs": 3, "precision": "bf16-mixed", "gradient_clip_val": 1.0}},
    "config": {"max_lr": 0.1},
}
