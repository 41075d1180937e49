"""What benchmarks/bare.py trains with Lightning alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.models import convnet, image_loaders
from torch_lab.modules import TrainLabModule


def train_config(_config: dict[str, Any]) -> dict[str, Any]:
    train, val = image_loaders()
    optimizer = {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": 1e-3}}
    module = TrainLabModule(convnet(), nn.CrossEntropyLoss(), optimizer)
    return {"module": module, "train_dataloaders": train, "val_dataloaders": val}
