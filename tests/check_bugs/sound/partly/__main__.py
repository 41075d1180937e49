"""Several labels for a sample, of which some are missing: -1, and left out of the sum."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Toxic(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 20, generator=g)
        self.y = (self.x[:, :12] > 0).long()
        self.y[torch.rand(n, 12, generator=g) < 0.4] = -1

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Multi(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.net = mlp(20, 12)

    def step(self, batch, name):
        x, y = batch
        raw = F.binary_cross_entropy_with_logits(self.net(x), y.float(), reduction="none")
        known = y >= 0
        loss = (raw * known).sum() / known.sum().clamp(min=1)
        self.log(name, loss)
        return loss

    def training_step(self, batch, _):
        return self.step(batch, "train_loss")

    def validation_step(self, batch, _):
        self.step(batch, "val_loss")

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


def train_config(config):
    return {
        "module": Multi(config["lr"]),
        "train_dataloaders": DataLoader(Toxic(90, 0), 10, shuffle=True),
        "val_dataloaders": DataLoader(Toxic(30, 1), 10),
    }
