"""Clouds of points, sorted by a small network; the plainest use of TrainLabModule."""

import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from torch_lab.callbacks import PredictionWriter
from torch_lab.data import DataLoader
from torch_lab.datasets import BaseDataset
from torch_lab.modules import LabModule, TrainLabModule

CLASSES = 4


class Clouds(BaseDataset):
    def __init__(self, n, seed, labels=True, transform=None):
        super().__init__(transform)
        drawn = torch.Generator().manual_seed(seed)
        self.classes = torch.arange(n) % CLASSES
        centers = torch.linspace(-1, 1, CLASSES).unsqueeze(1)
        self.points = centers[self.classes] + 0.3 * torch.randn(n, 8, generator=drawn)
        self.labels = labels

    def __len__(self):
        return len(self.points)

    def get_raw_data(self, md):
        return self.points[md["index"]]

    def get_raw_label(self, md):
        return int(self.classes[md["index"]]) if self.labels else None


class Net(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Dropout(dropout))
        self.middle = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        h = self.body(x)
        h = self.middle(h)
        return self.head(h)


def train_config(config):
    model = Net(config["width"], config["dropout"])
    module = TrainLabModule(
        model,
        nn.CrossEntropyLoss(),
        {
            "optimizer": torch.optim.AdamW,
            "optimizer_kwargs": {
                "lr": config["lr"],
                "weight_decay": config.get("weight_decay", 0.01),
            },
            "scheduler": ReduceLROnPlateau,
            "scheduler_kwargs": {"factor": 0.3, "patience": 2},
            "monitor": "loss/validate",
        },
        metrics={
            "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
            "f1": MulticlassF1Score(CLASSES),
        },
    )
    train, val = Clouds(120, seed=0), Clouds(40, seed=1)
    return {
        "module": module,
        "train_dataloaders": DataLoader(train, batch_size=config["batch_size"], shuffle=True),
        "val_dataloaders": DataLoader(val, batch_size=config["batch_size"]),
        "callbacks": [EarlyStopping("loss/validate", patience=5)],
    }


def infer_config(config, output="classes.csv"):
    return {
        "module": LabModule(Net(config["width"], config["dropout"]), probabilities),
        "predict_dataloaders": DataLoader(Clouds(40, seed=2, labels=False), batch_size=16),
        "callbacks": [PredictionWriter(output)],
    }


def probabilities(y_pred, md):
    return y_pred.softmax(1), md
