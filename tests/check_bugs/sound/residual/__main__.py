"""A differential equation: what is left of it is to vanish."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class PINN(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)
        )

    def residual(self, x):
        with torch.enable_grad():
            x = x.requires_grad_(True)
            u = self.net(x)
            (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (ddu,) = torch.autograd.grad(du.sum(), x, create_graph=True)
        return ddu + u

    def training_step(self, batch, _):
        x, zero = batch
        edge = self.net(torch.zeros(1, 1, device=self.device))
        loss = F.mse_loss(self.residual(x), zero) + (edge - 1).pow(2).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_residual", self.residual(batch[0]).abs().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train_config(config):
    x = 6.28 * torch.rand(config["points"], 1)
    grid = torch.linspace(0, 6.28, 50)[:, None]
    return {
        "module": PINN(config["lr"]),
        "train_dataloaders": DataLoader(TensorDataset(x, torch.zeros_like(x)), 50, shuffle=True),
        "val_dataloaders": DataLoader(TensorDataset(grid), 50),
    }
