"""Yes or no: one logit, BCEWithLogitsLoss, a learning rate that changes with every step."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

from torch_lab.modules import TrainLabModule

STEPS = 24  # samples of 3 channels


class Clicks(Dataset):
    def __init__(self, n=90):
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(n, 3, STEPS)).astype(np.float32)
        self.y = (self.x[:, 0].mean(axis=1) > 0).astype(np.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i]), {"y": torch.tensor(self.y[i])}


class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv1d(3, channels, 5, padding=2)
        self.norm = nn.BatchNorm1d(channels)
        self.out = nn.Linear(channels, 1)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.out(x.mean(dim=2)).squeeze(1)


def train_config(config):
    dataset = Clicks()
    train = DataLoader(Subset(dataset, range(60)), config["batch_size"], shuffle=True)
    module = TrainLabModule(
        Net(config["channels"]),
        nn.BCEWithLogitsLoss(),
        {
            "optimizer": torch.optim.Adam,
            "scheduler": torch.optim.lr_scheduler.OneCycleLR,
            "scheduler_kwargs": {
                "max_lr": config["lr"],
                "total_steps": config["epochs"] * len(train),
            },
            "interval": "step",
        },
        metrics={"accuracy": BinaryAccuracy(), "auroc": BinaryAUROC()},
    )
    return {
        "module": module,
        "train_dataloaders": train,
        "val_dataloaders": DataLoader(Subset(dataset, range(60, 90)), config["batch_size"]),
    }
