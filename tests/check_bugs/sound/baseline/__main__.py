"""Clouds of points, sorted by a pipeline of scikit-learn: a baseline beside a network."""

import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

from torch_lab.callbacks import PredictionWriter
from torch_lab.data import DataLoader
from torch_lab.datasets import BaseDataset

CLASSES = 4


class Clouds(BaseDataset):
    def __init__(self, n, seed, labels=True):
        super().__init__()
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


def model(config):
    return make_pipeline(
        StandardScaler(), PCA(config["components"]), LogisticRegression(C=config["c"])
    )


def train_config(config):
    train, val = Clouds(120, seed=0), Clouds(40, seed=1)
    return {
        "estimator": model(config),
        "metrics": {
            "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
            "auroc": MulticlassAUROC(CLASSES),
        },
        "train_dataloaders": DataLoader(train, batch_size=16),
        "val_dataloaders": DataLoader(val, batch_size=16),
    }


def infer_config(config):
    return {
        "estimator": model(config),
        "predict_dataloaders": DataLoader(Clouds(40, seed=2, labels=False), batch_size=16),
        "callbacks": [PredictionWriter("classes.csv")],
    }
