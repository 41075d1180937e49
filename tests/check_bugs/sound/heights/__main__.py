"""A number for each sample: mean squared error, one dataset split, steps that get smaller."""

import torch
from torch import nn
from torch.utils.data import TensorDataset
from torchmetrics import MeanAbsoluteError

from torch_lab.data import DataLoader
from torch_lab.datasets import split
from torch_lab.modules import TrainLabModule


class Measured(TensorDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, {"y": y}


def measured(n):
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(0))
    y = x.sum(dim=1, keepdim=True) + 0.1 * x[:, :1] ** 2
    return Measured(x, y)


def train_config(config):
    model = nn.Sequential(
        nn.Linear(5, config["width"]),
        nn.Tanh(),
        nn.Linear(config["width"], 1),
    )
    optimizer = {
        "optimizer": torch.optim.SGD,
        "optimizer_kwargs": {"lr": config["lr"], "momentum": 0.9},
        "scheduler": torch.optim.lr_scheduler.StepLR,
        "scheduler_kwargs": {"step_size": 2, "gamma": 0.5},
    }
    loss = nn.MSELoss()
    metrics = {"mae": MeanAbsoluteError()}
    parts = split(measured(200), {"train": 0.8, "val": 0.2}, seed=0)
    return {
        "module": TrainLabModule(model, loss, optimizer, metrics=metrics),
        "train_dataloaders": DataLoader(parts["train"], batch_size=16, shuffle=True),
        "val_dataloaders": DataLoader(parts["val"], batch_size=32),
    }
