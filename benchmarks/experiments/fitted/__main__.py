"""What benchmarks/bare.py fits by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.models import estimator, image_loaders, scores


def train_config(config: dict[str, Any]) -> dict[str, Any]:
    train, val = image_loaders()
    return {
        "estimator": estimator(config["estimator"]),
        "train_dataloaders": train,
        "val_dataloaders": val,
        "metrics": scores(),
    }
