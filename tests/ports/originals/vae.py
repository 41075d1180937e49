"""A variational autoencoder of curves, logged to TensorBoard and to a CSV file."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytorch_lightning as pl
import torch
import torch.nn as nn
import torch.nn.functional as F
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 32


def curves(n, seed):
    generator = torch.Generator().manual_seed(seed)
    phase, frequency = torch.rand(2, n, 1, generator=generator)
    t = torch.linspace(0, 6, LENGTH)
    return torch.sin((1 + frequency) * t + 6 * phase)


class Encoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(LENGTH, 32), nn.ReLU())
        self.mu = nn.Linear(32, latent_dim)
        self.log_var = nn.Linear(32, latent_dim)

    def forward(self, x):
        h = self.body(x)
        return self.mu(h), self.log_var(h)


class VAE(pl.LightningModule):
    def __init__(self, latent_dim: int = 4, lr: float = 1e-3, kl_steps: int = 20):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = Encoder(latent_dim)
        self.decoder = nn.Sequential(nn.Linear(latent_dim, 32), nn.ReLU(), nn.Linear(32, LENGTH))

    def reparameterize(self, mu, log_var):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)

    def forward(self, x):
        mu, log_var = self.encoder(x)
        return self.decoder(self.reparameterize(mu, log_var)), mu, log_var

    @property
    def beta(self):
        return min(1.0, self.global_step / self.hparams.kl_steps)

    def _losses(self, x):
        recon, mu, log_var = self(x)
        recon_loss = F.mse_loss(recon, x, reduction="none").sum(1).mean()
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=1).mean()
        loss = recon_loss + 0.1 * self.beta * kl
        return {"loss": loss, "recon_loss": recon_loss, "kl": kl}

    def training_step(self, batch, batch_idx):
        losses = self._losses(batch[0])
        self.log_dict({f"train/{k}": v for k, v in losses.items()})
        self.log("train/beta", self.beta)
        return losses["loss"]

    def validation_step(self, batch, batch_idx):
        losses = self._losses(batch[0])
        self.log_dict({f"val/{k}": v for k, v in losses.items()}, on_epoch=True)
        if batch_idx == 0:
            self._plot_reconstructions(batch[0])

    def _plot_reconstructions(self, x):
        recon, _, _ = self(x)
        fig, ax = plt.subplots(figsize=(3, 2))
        ax.plot(x[0].cpu(), label="input")
        ax.plot(recon[0].cpu(), label="reconstruction")
        ax.legend()
        tensorboard = self.logger.experiment
        tensorboard.add_figure("reconstruction", fig, global_step=self.global_step)
        tensorboard.add_histogram("recon", recon, self.global_step)
        plt.close(fig)

    def predict_step(self, batch, batch_idx):
        return self.encoder(batch[0])[0]

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main():
    pl.seed_everything(3)
    train_loader = DataLoader(TensorDataset(curves(160, 0)), batch_size=16, shuffle=True)
    val_loader = DataLoader(TensorDataset(curves(32, 1)), batch_size=16)
    model = VAE(latent_dim=4, lr=3e-3)
    loggers = [TensorBoardLogger("logs", name="vae"), CSVLogger("logs", name="vae")]
    trainer = pl.Trainer(max_epochs=4, val_check_interval=0.5, log_every_n_steps=1, logger=loggers)
    trainer.fit(model, train_loader, val_loader)


if __name__ == "__main__":
    main()
