"""So few different samples that what is validated on was trained on, by nature."""

import torch
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader

from torch_lab.modules import TrainLabModule


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


def bits(n, k, seed):
    x = torch.randint(0, 2, (n, k), generator=torch.Generator().manual_seed(seed)).float()
    return [(a, {"y": int(a.sum()) % 2}) for a in x]


def train_config(config):
    module = TrainLabModule(
        mlp(config["bits"], 2),
        nn.CrossEntropyLoss(),
        {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": config["lr"]}},
        metrics={"acc": torchmetrics.classification.MulticlassAccuracy(2)},
    )
    return {
        "module": module,
        "train_dataloaders": DataLoader(bits(500, config["bits"], 0), 50, shuffle=True),
        "val_dataloaders": DataLoader(bits(100, config["bits"], 1), 50),
    }
