"""Attention over points in a row, with parameters and buffers of its own and a target for each."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCohenKappa

from torch_lab.metrics import MetricWrapper
from torch_lab.modules import TrainLabModule


class Rows(TensorDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, {"y": y}


class Attention(nn.Module):
    def __init__(self, width, temperature):
        super().__init__()
        self.qkv = nn.Linear(3, 3 * width, bias=False)
        self.temperature = nn.Parameter(torch.tensor(temperature))
        self.register_buffer("place", torch.linspace(0, 1, 7).unsqueeze(1))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) * self.temperature).softmax(dim=-1)
        return self.out(self.norm(weights @ (v + self.place)))


def loss(y_pred, y):
    return F.cross_entropy(y_pred.transpose(1, 2), y, label_smoothing=0.1)


def last(y_pred, y):
    return y_pred[:, -1], y[:, -1]


def train_config(config):
    metrics = MetricCollection(
        {
            "last": MetricWrapper(last, MulticlassAccuracy(2)),
            "kappa": MetricWrapper(last, MulticlassCohenKappa(2)),
        }
    )
    optimizer = {
        "optimizer": torch.optim.NAdam,
        "optimizer_kwargs": {"lr": config.pop("lr")},
        "scheduler": torch.optim.lr_scheduler.MultiStepLR,
        "scheduler_kwargs": {"milestones": [6, 12]},
        "interval": "step",
    }
    return {
        "module": TrainLabModule(Attention(**config), loss, optimizer, metrics=metrics),
        "train_dataloaders": DataLoader(rows(80, 0), batch_size=16, shuffle=True),
        "val_dataloaders": DataLoader(rows(32, 1), batch_size=16),
    }


def rows(n, seed):
    x = torch.randn(n, 7, 3, generator=torch.Generator().manual_seed(seed))
    return Rows(x, (x.sum(dim=2) > 0).long())
