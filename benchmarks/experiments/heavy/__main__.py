"""A large frozen model; benchmarks/bare.py saves the same with Lightning alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.models import Heavy, slow_loader
from benchmarks.timing import StepTimer
from torch_lab.modules import TrainLabModule


def train_config(_config: dict[str, Any]) -> dict[str, Any]:
    optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 1e-3}}
    return {
        "module": TrainLabModule(Heavy(), nn.CrossEntropyLoss(), optimizer),
        "train_dataloaders": slow_loader(),
        "callbacks": [StepTimer()],
    }
