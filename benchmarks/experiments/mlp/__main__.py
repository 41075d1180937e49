"""A tiny network with three metrics."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from torch import nn

from benchmarks.models import CLASSES, mlp, ready_loader
from benchmarks.timing import StepTimer
from torch_lab.modules import TrainLabModule


def train_config(config: dict[str, Any]) -> dict[str, Any]:
    module = TrainLabModule(
        mlp(),
        nn.CrossEntropyLoss(),
        {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": 1e-3}},
        metrics={
            "accuracy": torchmetrics.Accuracy("multiclass", num_classes=CLASSES),
            "f1": torchmetrics.F1Score("multiclass", num_classes=CLASSES),
            "auroc": torchmetrics.AUROC("multiclass", num_classes=CLASSES),
        },
    )
    return {
        "module": module,
        "train_dataloaders": ready_loader(config["batches"]),
        "callbacks": [StepTimer()],
    }
