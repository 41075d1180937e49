"""Two networks against each other: manual optimization, two optimizers, no validation."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def mlp(first, last):
    return nn.Sequential(nn.Linear(first, 16), nn.LeakyReLU(0.2), nn.Linear(16, last))


class Gan(pl.LightningModule):
    def __init__(self, latent, lr):
        super().__init__()
        self.latent, self.lr = latent, lr
        self.automatic_optimization = False
        self.generator, self.critic = mlp(latent, 2), mlp(2, 1)

    def training_step(self, batch, batch_idx):
        (real,) = batch
        first, second = self.optimizers()
        z = torch.randn(len(real), self.latent, device=self.device)
        self.toggle_optimizer(first)
        scores = self.critic(self.generator(z))
        made = F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))
        first.zero_grad()
        self.manual_backward(made)
        first.step()
        self.untoggle_optimizer(first)
        self.toggle_optimizer(second)
        good, bad = self.critic(real), self.critic(self.generator(z).detach())
        told = F.binary_cross_entropy_with_logits(good, torch.ones_like(good))
        told = told + F.binary_cross_entropy_with_logits(bad, torch.zeros_like(bad))
        second.zero_grad()
        self.manual_backward(told)
        second.step()
        self.untoggle_optimizer(second)
        self.log_dict({"generator": made, "critic": told})

    def configure_optimizers(self):
        first = torch.optim.Adam(self.generator.parameters(), lr=self.lr, betas=(0.5, 0.999))
        second = torch.optim.Adam(self.critic.parameters(), lr=self.lr, betas=(0.5, 0.999))
        return [first, second]


def train_config(config):
    angle = 6.28 * torch.rand(100)
    ring = torch.stack([angle.cos(), angle.sin()], dim=1)
    return {
        "module": Gan(config["latent"], config["lr"]),
        "train_dataloaders": DataLoader(TensorDataset(ring), batch_size=25, shuffle=True),
    }
