"""What one stage (train, validate, test) has seen of its epoch: losses and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torchmetrics import MetricCollection

from torch_lab.modules import processes
from torch_lab.modules.merging import AnyMetric, Batch, Batches
from torch_lab.modules.notes import arguments, noting
from torch_lab.modules.values import named_values

FLUSH_EVERY = 50
FLUSH_ELEMENTS = 2**20

_WRAPPER = (
    "A metric is updated with (y_pred, y); torch_lab.metrics.MetricWrapper(preprocessor, metric)"
    " makes other arguments of them."
)


class Mean:
    """A mean weighted by batch size, summed where the values are, in double precision."""

    __slots__ = ("count", "total")

    def __init__(self, total: Tensor | None = None, count: int = 0) -> None:
        self.total = total
        self.count = count

    def add(self, value: Tensor, size: int) -> None:
        """Add the mean of a batch of `size` samples."""
        if self.total is None:
            self.total = value.to(processes.sum_dtype(value.device)) * size
        else:
            # Not in place: what inference mode made may not be changed outside of it.
            self.total = torch.add(self.total, value, alpha=size)
        self.count += size


class Stage:
    """Means of the losses and the metrics of one stage's epoch.

    Outputs are kept and handed to the metrics every 50 batches: an update costs as much as a
    small model's step. When that happens follows from the batches alone, never from when a
    checkpoint is saved, so that a resumed run adds the same numbers in the same order.
    """

    def __init__(self, name: str, metrics: Mapping[str, AnyMetric]) -> None:
        self.name = name
        self.metrics = dict(metrics)
        # A value at each logged step needs a metric that is up to date.
        self.eager = {n: m for n, m in metrics.items() if getattr(m, "compute_on_batch", False)}
        self.lazy = {n: m for n, m in metrics.items() if n not in self.eager}
        self.resumed = False
        self.last_loss: Tensor | None = None
        self._clear()

    def leave_out(self, name: str) -> bool:
        """Compute a metric no more; whether there was one of that name."""
        there = name in self.metrics
        for metrics in (self.metrics, self.eager, self.lazy):
            metrics.pop(name, None)
        self._clear()
        return there

    def _clear(self) -> None:
        self.batches = 0
        self.means: dict[str, Mean] = {}
        self.buffer: list[Batch] = []
        self.elements = 0
        self.values: dict[str, Any] = {}

    def reset(self) -> None:
        """Begin an epoch."""
        self._clear()
        self.resumed = False
        for metric in self.metrics.values():
            metric.reset()

    def add_loss(self, loss: Tensor, parts: Mapping[str, Tensor], size: int) -> None:
        """Add a batch's loss and the parts it is made of, if any; all without graph."""
        self.last_loss = loss
        self.resumed = False
        self._mean(f"loss/{self.name}").add(loss, size)
        for key, value in parts.items():
            self._mean(f"loss ({self.name})/{key}").add(value, size)

    def _mean(self, name: str) -> Mean:
        mean = self.means.get(name)
        if mean is None:
            mean = self.means[name] = Mean()
        return mean

    def add_output(self, y_pred: Any, y: Any) -> None:
        """Add a batch's predictions and targets to the metrics."""
        kept = isinstance(y_pred, Tensor) and isinstance(y, Tensor)
        if not kept:
            self.flush()
        self.batches += 1
        if self.eager:
            self._update(self.eager, [(_detached(y_pred), _detached(y))])
        if self.lazy and kept:
            self._keep(y_pred.detach(), y.detach())
        elif self.lazy:
            self._update(self.lazy, [(_detached(y_pred), _detached(y))])

    def _keep(self, y_pred: Tensor, y: Tensor) -> None:
        self.elements += y_pred.numel() + y.numel()
        if self.batches % FLUSH_EVERY == 0 or self.elements > FLUSH_ELEMENTS:
            self.buffer.append((y_pred, y))
            self.flush()
        else:
            # Whoever has these tensors may write into them, or into what they are views of.
            self.buffer.append((y_pred.clone(), y.clone()))

    def flush(self) -> None:
        """Hand the kept outputs, those of the last batches, to the metrics."""
        kept, self.buffer, self.elements = self.buffer, [], 0
        if not kept:
            return
        device = kept[-1][0].device  # those from a checkpoint may lie elsewhere
        batches = Batches([(y_pred.to(device), y.to(device)) for y_pred, y in kept])
        for name, metric in self.lazy.items():
            merged = batches.merged_for(metric)
            if merged is None:
                self._update({name: metric}, batches.single)
            else:
                self._merged_update(name, metric, merged, batches.single)

    def _merged_update(
        self, name: str, metric: AnyMetric, merged: Batch, single: Sequence[Batch]
    ) -> None:
        try:
            metric.update(*merged)
            return
        except Exception as error:  # noqa: BLE001  any: it is raised below
            failure = error
        # One by one, on a copy, the first that fails is told.
        self._update({name: _emptied(metric)}, single)
        failure.add_note(f"in metric {name!r} ({self.name}): {arguments(*merged)}")
        raise failure

    def _update(self, metrics: Mapping[str, AnyMetric], batches: Sequence[tuple[Any, Any]]) -> None:
        """Update metrics with the last batches."""
        first = self.batches - len(batches) + 1
        for name, metric in metrics.items():
            for number, batch in enumerate(batches, first):
                try:
                    metric.update(*batch)
                except Exception as error:  # any: it is raised again, and now says where
                    self._blame(error, name, metric, number, batch)
                    raise

    def _blame(
        self, error: Exception, name: str, metric: AnyMetric, number: int, batch: tuple[Any, Any]
    ) -> None:
        member = _failing_member(metric, batch)
        named = repr(name) if member is None else f"{name!r}, its {member!r}"
        error.add_note(f"in metric {named} ({self.name}), batch {number}: {arguments(*batch)}")
        if isinstance(error, TypeError):
            error.add_note(_WRAPPER)

    def results(self, device: torch.device) -> Iterator[tuple[str, Tensor]]:
        """The epoch's values under the names they are logged by, over all processes."""
        # A step of one's own may add losses alone, or outputs alone.
        outputs, losses = processes.sums([self.batches, len(self.means)], device)
        if losses:
            yield from self._loss_results(device)
        if outputs:
            self.flush()
            self._compute()
        for name, value in self.values.items():
            yield from named_values(name, self.name, value)

    def _compute(self) -> None:
        with processes.lists_of_any_length(self.metrics.values()):
            for name, metric in self.metrics.items():
                with noting(f"metric {name!r} ({self.name}), computed at the epoch's end"):
                    self.values[name] = metric.compute()

    def _loss_results(self, device: torch.device) -> Iterator[tuple[str, Tensor]]:
        names = processes.names_of_all(list(self.means))
        means = [self.means.get(name, Mean()) for name in names]
        totals = [0.0 if mean.total is None else mean.total for mean in means]
        sums = processes.sums([*totals, *(mean.count for mean in means)], device)
        for i, name in enumerate(names):
            yield name, sums[i] / sums[len(names) + i]


def _detached(value: Any) -> Any:
    """`value` without its graph, whatever it is made of; as it is where there is none."""
    if isinstance(value, Tensor):
        return value.detach()
    if not torch.is_grad_enabled():
        return value
    return apply_to_collection(value, Tensor, Tensor.detach, allow_frozen=True)


def _emptied(metric: AnyMetric) -> AnyMetric:
    copy = metric.clone()
    copy.reset()
    return copy


def _failing_member(metric: AnyMetric, batch: tuple[Any, Any]) -> str | None:
    """Which metric of a collection can't take a batch."""
    if isinstance(metric, MetricCollection):
        for name, member in metric.items():
            try:
                _emptied(member).update(*batch)
            except Exception:  # noqa: BLE001  any: the first one was raised, this says whose it was
                return str(name)
    return None
