"""An autoencoder: what goes in is what should come out, between 0 and 1."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from torch_lab.modules import TrainLabModule


class Blots(Dataset):
    def __init__(self, n, seed):
        drawn = torch.Generator().manual_seed(seed)
        self.images = torch.rand(n, 1, 8, 8, generator=drawn).round()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], {"y": self.images[i]}


class Autoencoder(nn.Module):
    def __init__(self, code):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, code), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(code, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def train_config(config):
    optimizer = {
        "optimizer": torch.optim.Adam,
        "optimizer_kwargs": dict(config["optimizer"]),
        "scheduler": torch.optim.lr_scheduler.ExponentialLR,
        "scheduler_kwargs": {"gamma": 0.9},
    }
    return {
        "module": TrainLabModule(Autoencoder(config["code"]), nn.BCELoss(), optimizer),
        "train_dataloaders": DataLoader(Blots(80, 0), batch_size=16, shuffle=True),
        "val_dataloaders": DataLoader(Blots(32, 1), batch_size=16),
        "test_dataloaders": DataLoader(Blots(32, 2), batch_size=16),
    }
