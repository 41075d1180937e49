"""The networks and data that all sides train with."""

from __future__ import annotations

import time
from typing import Any

import torch
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC, MulticlassF1Score

CLASSES = 10
FEATURES = 32
Sample = tuple[torch.Tensor, dict[str, Any]]


def mlp() -> nn.Module:
    """The smallest network that is one: what is measured is what goes on around it."""
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, CLASSES))


class ReadyBatches(Dataset[Sample]):
    """Batches made beforehand, so that a step isn't hidden behind its data."""

    def __init__(self, count: int, size: int = 32, kept: int = 64) -> None:
        generator = torch.Generator().manual_seed(0)
        self._count = count
        self._x = torch.randn(kept, size, FEATURES, generator=generator)
        self._y = torch.randint(CLASSES, (kept, size), generator=generator)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        at = index % len(self._x)
        return self._x[at], {"y": self._y[at]}


def ready_loader(count: int) -> DataLoader[Sample]:
    return DataLoader(ReadyBatches(count), batch_size=None)


def convnet() -> nn.Module:
    """Small, but a step of it is work: about 15 ms."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 64, CLASSES),
    )


class Images(Dataset[Sample]):
    """Labelled 16x16 images."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self._y = torch.randint(CLASSES, (count,), generator=generator)
        noise = torch.randn(count, 1, 16, 16, generator=generator)
        self._x = noise + self._y[:, None, None, None] / CLASSES

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, index: int) -> Sample:
        return self._x[index], {"y": self._y[index]}


EPOCHS = 8


def image_loaders() -> tuple[DataLoader[Sample], DataLoader[Sample]]:
    train = DataLoader(Images(6400), batch_size=64, shuffle=True)
    return train, DataLoader(Images(640), batch_size=64)


class Heavy(nn.Module):
    """200 MB of weights in 24 tensors that get no gradients: a step costs nothing, a save all."""

    def __init__(self) -> None:
        super().__init__()
        layers = [torch.full((1443, 1443), 1.0 / i) for i in range(1, 25)]
        self.backbone = nn.ParameterList(nn.Parameter(layer) for layer in layers)
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(x)
        return y


SAVE_EVERY, SAVES, PAUSE = 10, 5, 0.15


class SlowBatches(ReadyBatches):
    """Batches that take a while, as a model of 200 MB would: a save can end before the next."""

    def __getitem__(self, index: int) -> Sample:
        time.sleep(PAUSE)
        return super().__getitem__(index)


def slow_loader() -> DataLoader[Sample]:
    return DataLoader(SlowBatches(SAVE_EVERY * SAVES + 1), batch_size=None)


def estimator(name: str) -> Any:
    """What is fitted at once, and what is fitted in rounds, as its own defaults have it."""
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=150, random_state=0)
    if name == "staged":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=100, early_stopping=False)
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=50, max_depth=4, n_jobs=1)


def scores() -> dict[str, torchmetrics.Metric]:
    """The metrics of an estimator."""
    return {
        "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
        "f1": MulticlassF1Score(CLASSES),
        "auroc": MulticlassAUROC(CLASSES),
    }
