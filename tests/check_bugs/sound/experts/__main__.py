"""Experts that see a part of each batch: in the first one, some see nothing."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class MoE(pl.LightningModule):
    def __init__(self, experts, lr):
        super().__init__()
        self.lr = lr
        self.gate = nn.Linear(8, experts)
        self.experts = nn.ModuleList(mlp(8, 8) for _ in range(experts))
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        weight, which = self.gate(x).softmax(-1).max(-1)
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            chosen = which == i
            if chosen.any():
                y[chosen] = weight[chosen, None] * expert(x[chosen])
        return self.out(y)

    def training_step(self, batch, _):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train_config(config):
    data = TensorDataset(torch.randn(128, 8), torch.randint(0, 2, (128,)))
    return {"module": MoE(**config), "train_dataloaders": DataLoader(data, 64, shuffle=True)}
