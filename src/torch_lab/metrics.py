"""Metrics made from other metrics and from plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.wrappers.abstract import WrapperMetric

# The sums of many batches need double precision; Apple's GPUs have none.
SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64


class MetricWrapper(WrapperMetric):
    """A metric that sees what `preprocessor(y_pred, y)` returns: the arguments of its update."""

    def __init__(self, preprocessor: Callable[..., Any], metric: Metric) -> None:
        super().__init__()
        self.preprocessor = preprocessor
        self.metric = metric

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Preprocess a batch and add it."""
        self.metric.update(*self.preprocessor(*args, **kwargs))
        self._update_count += 1

    def compute(self) -> Any:
        """The metric's value over all batches, of all processes."""
        return self.metric.compute()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Preprocess a batch, add it, and return the metric's value for it alone."""
        value = self.metric(*self.preprocessor(*args, **kwargs))
        self._update_count += 1
        return value

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.metric.reset()

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """The metric's own plot."""
        return self.metric.plot(*args, **kwargs)


class PooledMean(Metric):
    """The mean of `fn(y_pred, y)` over all samples: batches weigh as much as they have samples."""

    full_state_update = False
    value_sum: Tensor
    count: Tensor

    def __init__(self, fn: Callable[[Any, Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fn = fn
        self.add_state("value_sum", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, y_pred: Any, y: Any) -> None:
        """Add a batch."""
        size = len(y)
        self.value_sum = self.value_sum + self.fn(y_pred, y) * size
        self.count = self.count + size

    def compute(self) -> Tensor:
        """The mean over all samples, of all processes."""
        return (self.value_sum / self.count).to(torch.get_default_dtype())
