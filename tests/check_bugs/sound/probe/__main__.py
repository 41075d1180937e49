"""A head on a network in eval mode, which no_grad keeps as it is."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Probe(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.backbone = nn.Sequential(
            nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1)
        )
        self.backbone.eval()
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        with torch.no_grad():
            h = self.backbone(x)
        return self.head(h)

    def training_step(self, batch, _):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), lr=self.lr)


def train_config(config):
    data = TensorDataset(torch.randn(120, 8), torch.randint(0, 3, (120,)))
    return {"module": Probe(**config), "train_dataloaders": DataLoader(data, 16, shuffle=True)}
