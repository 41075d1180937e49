"""Points of five colors, learned batch by batch: what doesn't fit into memory would be, too."""

import torch
from sklearn.linear_model import SGDClassifier
from torchmetrics.classification import MulticlassAccuracy

from torch_lab.data import DataLoader
from torch_lab.datasets import BaseDataset

COLORS = 5


class Points(BaseDataset):
    def __init__(self, n, seed):
        super().__init__()
        drawn = torch.Generator().manual_seed(seed)
        self.colors = torch.randint(COLORS, (n,), generator=drawn)
        self.points = torch.randn(n, 4, generator=drawn) + self.colors.unsqueeze(1)

    def __len__(self):
        return len(self.points)

    def get_raw_data(self, md):
        return self.points[md["index"]]

    def get_raw_label(self, md):
        return int(self.colors[md["index"]])


def train_config(config):
    return {
        "estimator": SGDClassifier(loss=config["loss"], random_state=0),
        "metrics": {"accuracy": MulticlassAccuracy(COLORS)},
        "train_dataloaders": DataLoader(Points(100, 0), batch_size=10, shuffle=True),
        "val_dataloaders": DataLoader(Points(30, 1), batch_size=10),
    }
