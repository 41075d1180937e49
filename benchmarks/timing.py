"""When steps begin: the one thing added to a Trainer that is measured."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any, ClassVar

import pytorch_lightning as pl

WINDOW = 100  # batches: a multiple of the 50 after which metrics, NaN watch and rows come round


class StepTimer(pl.Callback):
    """Notes when each training batch begins; the one made last is `latest`."""

    latest: ClassVar[StepTimer]

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []
        StepTimer.latest = self

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs.append([])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.epochs[-1].append(time.perf_counter())


def step_cost(epochs: list[list[float]]) -> float:
    """Seconds a step: the median over windows, each of which holds whatever comes round."""
    windows = [window for begins in epochs for window in window_costs(begins)]
    return statistics.median(windows)


def window_costs(begins: list[float]) -> list[float]:
    """Seconds a step in each window of an epoch, but for the first, which warms up."""
    edges = begins[WINDOW::WINDOW]
    return [(end - begin) / WINDOW for begin, end in itertools.pairwise(edges)]
