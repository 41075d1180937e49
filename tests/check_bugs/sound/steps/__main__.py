"""A module with its loaders in Lightning's own hooks, a loss of its own, an average of weights."""

import math

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

PARTS = 3  # of a mixture that y is drawn from


class Mixture(pl.LightningModule):
    def __init__(self, hp):
        super().__init__()
        self.hp = hp
        self.net = nn.Sequential(nn.Linear(1, 20), nn.ELU(), nn.Linear(20, 3 * PARTS))
        self.average = torch.optim.swa_utils.AveragedModel(self.net)
        self.average.requires_grad_(False)

    def training_step(self, batch, batch_idx):
        x, y = batch
        share, mean, log_scale = self.net(x).chunk(3, dim=1)
        distance = (y - mean) / log_scale.exp()
        log_density = -0.5 * distance**2 - log_scale - 0.5 * math.log(2 * math.pi)
        loss = -torch.logsumexp(log_density + share.log_softmax(dim=1), dim=1).mean()
        self.log("nll", loss, on_step=True, on_epoch=True)
        return loss

    def on_train_batch_end(self, *_):
        self.average.update_parameters(self.net)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        share, mean, _ = self.average(x).chunk(3, dim=1)
        guess = (share.softmax(dim=1) * mean).sum(dim=1, keepdim=True)
        self.log("error", (guess - y).abs().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), self.hp["lr"])

    def train_dataloader(self):
        return DataLoader(self.points(0), batch_size=self.hp["batch_size"], shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.points(1), batch_size=self.hp["batch_size"])

    def points(self, seed):
        drawn = torch.Generator().manual_seed(seed)
        y = torch.rand(120, 1, generator=drawn)
        return list(zip(y + 0.3 * torch.sin(6.28 * y), y, strict=True))


def train_config(config):
    return {"module": Mixture(config)}
