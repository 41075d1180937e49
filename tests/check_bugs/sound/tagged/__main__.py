"""Several labels for a sample, rare ones weighted; two losses in a dict, a sampler with weights."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchmetrics.classification import MultilabelAccuracy

from torch_lab.modules import TrainLabModule
from torch_lab.transforms import BaseDataTransform, TransformCompose

LABELS = 5


class Scale(BaseDataTransform):
    def __init__(self, factor):
        self.factor = factor

    def compute(self, data):
        return data * self.factor


class Tagged(Dataset):
    def __init__(self, n, seed, transform):
        drawn = torch.Generator().manual_seed(seed)
        self.x = 100 * torch.randn(n, 10, generator=drawn)
        self.tags = (self.x[:, :LABELS] > 60).float()
        self.transform = transform

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.transform(self.x[i], {"y": self.tags[i], "row": i})


class Losses(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.bce = nn.BCEWithLogitsLoss(pos_weight=torch.full((LABELS,), weight))

    def forward(self, y_pred, y):
        return {"tags": self.bce(y_pred, y), "size": 0.01 * y_pred.pow(2).mean()}


def train_config(config):
    transform = TransformCompose(Scale(config["factor"]))
    train, val = Tagged(100, 0, transform), Tagged(50, 1, transform)
    weights = 1.0 + train.tags.sum(dim=1)
    sampler = WeightedRandomSampler(weights, num_samples=len(train))
    model = nn.Sequential(nn.Linear(10, 20), nn.SiLU(), nn.Linear(20, LABELS))
    module = TrainLabModule(
        model,
        Losses(config["rare"]),
        {"optimizer": torch.optim.AdamW, "optimizer_kwargs": config["optimizer"]},
        metrics={"accuracy": MultilabelAccuracy(LABELS)},
    )
    return {
        "module": module,
        "train_dataloaders": DataLoader(train, batch_size=20, sampler=sampler),
        "val_dataloaders": DataLoader(val, batch_size=20),
    }
