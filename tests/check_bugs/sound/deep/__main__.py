"""Residual blocks that begin as nothing and are dropped at random, small matrices added."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from torch_lab.datasets import BaseDataset, split
from torch_lab.modules import LabModule, TrainLabModule


class Block(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.scale = nn.BatchNorm2d(width)
        self.drop = drop
        nn.init.zeros_(self.scale.weight)

    def forward(self, x):
        if self.training and torch.rand(()) < self.drop:
            return x
        return torch.relu(x + self.scale(self.conv(torch.relu(self.norm(x)))))


class Added(nn.Module):
    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, linear.in_features))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + x @ self.down.T @ self.up.T


class Deep(nn.Module):
    def __init__(self, width, depth, drop):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width, drop) for _ in range(depth)))
        self.middle = Added(nn.Linear(width, width), 2)
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        x = self.blocks(self.stem(x)).mean((2, 3))
        return self.head(self.middle(x)).squeeze(-1)


class Dots(BaseDataset):
    def __len__(self):
        return 64

    def get_additional_metadata(self, i):
        return {"name": f"dots {i}", "row": i % 5}

    def get_raw_data(self, md):
        drawn = torch.Generator().manual_seed(md["index"])
        return (torch.rand(1, 6, 6, generator=drawn) < 0.1 * (1 + md["row"])).float()

    def get_raw_label(self, md):
        return torch.tensor(0.2 * md["row"] - 0.4)


def build(config):
    return Deep(config.get("width", 4), config["depth"], config["drop"])


def train_config(config):
    parts = split(Dots(), {"train": 0.7, "val": 0.2, "test": 0.1}, seed=3)
    optimizer = {
        "optimizer": torch.optim.Adam,
        "optimizer_kwargs": {"lr": config["lr"]},
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingWarmRestarts,
        "scheduler_kwargs": {"T_0": 2},
    }
    return {
        "module": TrainLabModule(build(config), nn.HuberLoss(), optimizer),
        "train_dataloaders": DataLoader(parts["train"], batch_size=8, shuffle=True),
        "val_dataloaders": DataLoader(parts["val"], batch_size=8),
        "test_dataloaders": DataLoader(parts["test"], batch_size=8),
    }


def infer_config(config):
    return {
        "module": LabModule(build(config)),
        "predict_dataloaders": DataLoader(Dots(), batch_size=8),
    }
