"""Triplets found in each batch: among two samples there is none."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Embed(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.net = mlp(12, 8)

    def training_step(self, batch, batch_idx):
        x, y = batch
        z = self.net(x)
        loss = torch.zeros((), device=self.device, requires_grad=True)
        for i in range(len(y)):
            pos = [j for j in range(len(y)) if j != i and y[j] == y[i]]
            neg = [j for j in range(len(y)) if y[j] != y[i]]
            if pos and neg:
                loss = loss + F.triplet_margin_loss(z[i], z[pos[0]], z[neg[0]], margin=1.0)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train_config(config):
    x, y = torch.randn(96, 12), torch.arange(96) % 8
    return {
        "module": Embed(config["lr"]),
        "train_dataloaders": DataLoader(TensorDataset(x, y), 24, shuffle=True),
    }
