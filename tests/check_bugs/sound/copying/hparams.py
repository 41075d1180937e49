hparams = {
    "trainer": {"init": {"max_epochs": 3, "log_every_n_steps": 2, "accumulate_grad_batches": 2}},
    "config": {"code": 12, "optimizer": {"lr": 1e-2}},
}
