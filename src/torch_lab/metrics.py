"""Metrics made from other metrics and from plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers.abstract import WrapperMetric

from torch_lab.errors import ConfigurationError
from torch_lab.utils.batches import batch_size
from torch_lab.utils.text import shown

# The sums of many batches need double precision; Apple's GPUs have none.
SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64


class MetricWrapper(WrapperMetric):
    """A metric that sees what `preprocessor(y_pred, y)` returns: the arguments of its update.

    Those are a tuple (or list) of them, or a dict of them by name; anything else is the only one.
    """

    def __init__(self, preprocessor: Callable[..., Any], metric: Metric | MetricCollection) -> None:
        super().__init__()
        if not callable(preprocessor) or not isinstance(metric, (Metric, MetricCollection)):
            raise ConfigurationError(
                f"MetricWrapper(preprocessor, metric) got {shown(preprocessor)}, {shown(metric)}",
                hint="Give it a function of (y_pred, y), then a torchmetrics.Metric.",
            )
        self.preprocessor = preprocessor
        self.metric = metric

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Preprocess a batch and add it."""
        self._applied(self.metric.update, args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Preprocess a batch, add it, and return the metric's value for it alone."""
        # Where self.log looks for the value of a step.
        self._forward_cache = self._applied(self.metric, args, kwargs)
        return self._forward_cache

    def _applied(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        found = self.preprocessor(*args, **kwargs)
        self._update_count += 1
        if isinstance(found, Mapping):
            return function(**found)
        return function(*found) if isinstance(found, (tuple, list)) else function(found)

    def compute(self) -> Any:
        """The metric's value over all batches, of all processes."""
        return self.metric.compute()

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.metric.reset()

    def persistent(self, mode: bool = False) -> None:
        """Whether the metric's states are part of its state_dict."""
        super().persistent(mode)
        self.metric.persistent(mode)

    def set_dtype(self, dst_type: str | torch.dtype) -> MetricWrapper:
        """Change the type of the metric's states."""
        super().set_dtype(dst_type)
        self.metric.set_dtype(dst_type)
        return self

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """The metric's own plot."""
        return self.metric.plot(*args, **kwargs)


class PooledMean(Metric):
    """The mean of `fn(y_pred, y)` over all samples: batches weigh as much as they have samples."""

    full_state_update = False
    value_sum: Tensor
    count: Tensor
    apart: Tensor

    def __init__(self, fn: Callable[[Any, Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not callable(fn):
            raise ConfigurationError(
                f"PooledMean got {shown(fn)}", hint="Give it a function of (y_pred, y)."
            )
        self.fn = fn
        self.add_state("value_sum", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        # A MetricCollection updates only one of the metrics whose states are equal after the
        # first batch, as those of two functions can be. NaN is equal to nothing.
        self.add_state("apart", torch.tensor(torch.nan), dist_reduce_fx="max")

    def update(self, y_pred: Any, y: Any) -> None:
        """Add a batch."""
        size = batch_size(y, y_pred)
        if size:
            self.value_sum = self.value_sum + self._value(y_pred, y) * size
            self.count = self.count + size

    def _value(self, y_pred: Any, y: Any) -> Tensor | float:
        value = self.fn(y_pred, y)
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
            single: Tensor = value.detach().reshape(()).to(self.value_sum.device)
            return single
        if not isinstance(value, Tensor):
            try:
                return float(value)
            except (TypeError, ValueError):
                pass  # said below
        name = getattr(self.fn, "__qualname__", None) or repr(self.fn)
        kind = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else shown(value)
        raise ConfigurationError(
            f"the function of PooledMean({name}) returned a {type(value).__name__} {kind}",
            hint="It must return one number: the mean over the batch's samples.",
        )

    def compute(self) -> Tensor:
        """The mean over all samples, of all processes; NaN if there were none."""
        return (self.value_sum / self.count).to(torch.get_default_dtype())
