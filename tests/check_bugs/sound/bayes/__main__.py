"""Dropout that goes on in validation, on purpose, and a softmax over the members of a bag."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Bayes(pl.LightningModule):
    def __init__(self, lr, samples):
        super().__init__()
        self.save_hyperparameters()
        self.one, self.two = nn.Linear(8, 32), nn.Linear(32, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        h = F.dropout(F.gelu(self.one(x)), p=0.2, training=True)
        return self.two(self.drop(h)).squeeze(-1)

    def training_step(self, batch, _):
        loss = F.mse_loss(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.drop.train()
        out = torch.stack([self(batch[0]) for _ in range(self.hparams.samples)])
        self.drop.eval()
        self.log_dict({"val_loss": F.mse_loss(out.mean(0), batch[1]), "spread": out.std(0).mean()})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def data(seed, n):
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x.sum(1))


def train_config(config):
    return {
        "module": Bayes(**config),
        "train_dataloaders": DataLoader(data(0, 90), 10, shuffle=True),
        "val_dataloaders": DataLoader(data(1, 30), 10),
    }
