"""A config that is a dataclass, with one inside; a target of two numbers."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.data import DataLoader

from torch_lab.metrics import PooledMean
from torch_lab.modules import TrainLabModule


@dataclass
class Optimizer:
    name: str = "Adam"
    lr: float = 1e-3


@dataclass
class Config:
    width: int
    layers: int = 2
    batch_size: int = 16
    optimizer: Optimizer = field(default_factory=Optimizer)


class Residual(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.begin = nn.Linear(4, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])
        self.end = nn.Linear(width, 2)

    def forward(self, x):
        x = self.begin(x)
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.end(x)


def distance(y_pred, y):
    return (y_pred - y).pow(2).sum(dim=1).sqrt().mean()


def train_config(config: Config):
    kind = getattr(torch.optim, config.optimizer.name)
    optimizer = {"optimizer": kind, "optimizer_kwargs": {"lr": config.optimizer.lr}}
    module = TrainLabModule(
        Residual(config.width, config.layers),
        distance,
        optimizer,
        metrics={"distance": PooledMean(distance)},
    )
    return {
        "module": module,
        "train_dataloaders": DataLoader(places(128, 0), config.batch_size, shuffle=True),
        "val_dataloaders": DataLoader(places(32, 1), config.batch_size),
    }


def places(n, seed):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return [(each, {"y": torch.stack([each.sum(), each.prod()])}) for each in x]
