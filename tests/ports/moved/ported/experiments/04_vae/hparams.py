from pytorch_lightning.loggers import CSVLogger

trainer = {"max_epochs": 4, "val_check_interval": 0.5, "log_every_n_steps": 1}
hparams = {
    "seed": 3,
    "trainer": {"init": {**trainer, "logger": CSVLogger("logs", name="vae")}},
    "config": {"latent_dim": 4, "lr": 3e-3},
}
