"""Points of three colors, told apart by an estimator of some kind."""

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC
from xgboost import XGBClassifier

from torch_lab.callbacks import PredictionWriter
from torch_lab.data import DataLoader
from torch_lab.datasets import BaseDataset

COLORS = 3


class Points(BaseDataset):
    def __init__(self, n, seed, labels=True):
        super().__init__()
        drawn = torch.Generator().manual_seed(seed)
        self.colors = torch.arange(n) % COLORS
        self.points = torch.randn(n, 2, 2, generator=drawn) + self.colors.view(-1, 1, 1)
        self.labels = labels

    def __len__(self):
        return len(self.points)

    def get_raw_data(self, md):
        return self.points[md["index"]]

    def get_raw_label(self, md):
        return int(self.colors[md["index"]]) if self.labels else None


class Nearest:
    """An estimator of one's own: the color whose mean is nearest."""

    def fit(self, x, y):
        x, y = rows(x), np.asarray(y)
        self.classes_ = np.unique(y)
        self.means = np.stack([x[y == each].mean(0) for each in self.classes_])
        return self

    def predict(self, x):
        apart = ((rows(x)[:, None] - self.means) ** 2).sum(-1)
        return self.classes_[apart.argmin(1)]


def rows(x):
    return np.asarray(x).reshape(len(x), -1)


def estimator(config):
    kinds = {
        "linear": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=config["c"])),
        "forest": lambda: RandomForestClassifier(config["trees"], random_state=0),
        "boosted": lambda: XGBClassifier(n_estimators=config["trees"], max_depth=2, n_jobs=1),
        "own": Nearest,
    }
    return kinds[config["kind"]]()


def metrics(config):
    found = {"accuracy": MulticlassAccuracy(COLORS, average="micro")}
    if config["kind"] != "own":
        found["auroc"] = MulticlassAUROC(COLORS)
    return found


def train_config(config):
    return {
        "estimator": estimator(config),
        "metrics": metrics(config),
        "train_dataloaders": DataLoader(Points(60, 0), batch_size=16, shuffle=True),
        "val_dataloaders": DataLoader(Points(30, 1), batch_size=16),
        "test_dataloaders": DataLoader(Points(30, 2), batch_size=16),
    }


def likeliest(y_pred, md):
    return {"color": y_pred.argmax(1) if y_pred.ndim > 1 else y_pred}, md


def infer_config(config, out="colors.csv", given=""):
    points = Points(10, 3, labels=False)
    data = {"predict_dataloaders": DataLoader(points, batch_size=4)}
    if given == "arrays":
        data = {"predict_data": points.points.flatten(1).numpy()}
    if given == "with names":
        md = {"name": [f"point {number}" for number in range(10)]}
        data = {"predict_data": (points.points.flatten(1).numpy(), md)}
    return {
        "estimator": estimator(config),
        "output_transform": likeliest,
        "callbacks": [PredictionWriter(out)],
        **data,
    }
