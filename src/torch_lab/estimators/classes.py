"""All classes that partial_fit has to know before its first batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torchmetrics import Metric, MetricCollection

from torch_lab.data import DataLoader
from torch_lab.errors import ConfigurationError
from torch_lab.estimators.arrays import targets_for
from torch_lab.estimators.labels import by_value
from torch_lab.estimators.module import EstimatorModule
from torch_lab.estimators.tables import Table
from torch_lab.modules import pairs


def classes_of(module: EstimatorModule, loaders: Any) -> np.ndarray:
    """The classes: as many as a metric has, else those that the training data hold."""
    known = np.arange(max((count for count in map(_count, _parts(module)) if count), default=0))
    dataset = getattr(loaders, "dataset", None)
    if isinstance(dataset, Table):
        found = np.unique(targets_for(dataset.md["y"]))
        return np.union1d(known, found) if by_value(found) else found
    if len(known):
        return known
    if dataset is None or not hasattr(dataset, "__getitem__"):
        raise ConfigurationError(
            "train_dataloaders: which classes there are can't be seen before the first batch",
            hint="Give a metric with num_classes, such as MulticlassAccuracy(10).",
        )
    again = DataLoader(dataset, loaders.batch_size or 1, collate_fn=loaders.collate_fn)
    return np.unique(np.concatenate([targets_for(pairs.to_train_on(b)[1]["y"]) for b in again]))


def _parts(module: EstimatorModule) -> Iterator[Metric | MetricCollection]:
    for each in module.metrics.modules():
        if isinstance(each, Metric):
            yield each


def _count(metric: Any) -> int | None:
    count = getattr(metric, "num_classes", None)
    return count if isinstance(count, int) else None
