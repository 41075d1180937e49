"""What one stage (train, validate, test) has seen of its epoch: losses and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torchmetrics import Metric, MetricCollection

FLUSH_EVERY = 50
FLUSH_ELEMENTS = 2**20

AnyMetric = Metric | MetricCollection
Batch = tuple[Tensor, Tensor]

_CLASSIFICATION = "torchmetrics.classification."
_REGRESSION = "torchmetrics.regression."


class Mean:
    """A mean weighted by batch size, summed where the values are, in double precision."""

    __slots__ = ("count", "total")

    def __init__(self, total: Tensor | None = None, count: int = 0) -> None:
        self.total = total
        self.count = count

    def add(self, value: Tensor, size: int) -> None:
        """Add the mean of a batch of `size` samples."""
        if self.total is None:
            self.total = value.to(_sum_dtype(value.device)) * size
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

    def _clear(self) -> None:
        self.batches = 0
        self.means: dict[str, Mean] = {}
        self.buffer: list[Batch] = []
        self.elements = 0

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
        self.batches += 1
        if self.eager:
            _update(self.eager, [(_detached(y_pred), _detached(y))])
        if not self.lazy:
            return
        if isinstance(y_pred, Tensor) and isinstance(y, Tensor):
            self._keep(y_pred.detach(), y.detach())
        else:
            self.flush()
            _update(self.lazy, [(_detached(y_pred), _detached(y))])

    def _keep(self, y_pred: Tensor, y: Tensor) -> None:
        self.elements += y_pred.numel() + y.numel()
        if self.batches % FLUSH_EVERY == 0 or self.elements > FLUSH_ELEMENTS:
            self.buffer.append((y_pred, y))
            self.flush()
        else:
            # Whoever has these tensors may write into them, or into what they are views of.
            self.buffer.append((y_pred.clone(), y.clone()))

    def flush(self) -> None:
        """Hand the kept outputs to the metrics."""
        kept, self.buffer, self.elements = self.buffer, [], 0
        if not kept:
            return
        device = kept[-1][0].device  # those from a checkpoint may lie elsewhere
        batches = [(y_pred.to(device), y.to(device)) for y_pred, y in kept]
        merged = _merged(batches) if len(batches) > 1 else None
        alike = merged is not None and _read_alike([y_pred for y_pred, _ in batches])
        for name, metric in self.lazy.items():
            merges = merged is not None and _merges(metric, alike)
            _update({name: metric}, merged if merged is not None and merges else batches)

    def results(self, device: torch.device) -> Iterator[tuple[str, Tensor]]:
        """The epoch's values under the names they are logged by, over all processes."""
        if not _sum_over_processes([self.batches], device)[0]:
            return
        self.flush()
        yield from self._loss_results(device)
        for name, metric in self.metrics.items():
            with _noting(name):
                value = metric.compute()
            yield from named_values(name, self.name, value)

    def _loss_results(self, device: torch.device) -> Iterator[tuple[str, Tensor]]:
        names = _names_of_all_processes(list(self.means))
        means = [self.means.get(name, Mean()) for name in names]
        totals = [0.0 if mean.total is None else mean.total for mean in means]
        sums = _sum_over_processes([*totals, *(mean.count for mean in means)], device)
        for i, name in enumerate(names):
            yield name, sums[i] / sums[len(names) + i]


def named_values(name: str, stage: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The scalars in what a metric computed, under the names they are logged by."""
    values = {f"{name}/{stage}": value}
    if isinstance(value, Mapping):
        values = {f"{name} ({stage})/{key}": each for key, each in value.items()}
    for key, each in values.items():
        scalar = _scalar(each)
        if scalar is not None:
            yield key, scalar


def _detached(value: Any) -> Any:
    """`value` without its graph, through dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {key: _detached(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_detached(each) for each in value]
    return value


def _scalar(value: Any) -> Tensor | None:
    if isinstance(value, (bool, int, float)):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
        return None
    scalar: Tensor = value.detach().reshape(())
    return scalar if scalar.is_floating_point() else scalar.to(torch.get_default_dtype())


def _update(metrics: Mapping[str, AnyMetric], batches: Iterable[tuple[Any, Any]]) -> None:
    for name, metric in metrics.items():
        with _noting(name):
            for y_pred, y in batches:
                metric.update(y_pred, y)


@contextmanager
def _noting(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # any: it is raised again, and now says which metric it was
        error.add_note(f"in metric {name!r}")
        raise


def _merged(batches: list[Batch]) -> list[Batch] | None:
    """The batches as one, where they are of a kind."""
    kinds = {(y_pred.dtype, y_pred.shape[1:], y.dtype, y.shape[1:]) for y_pred, y in batches}
    if len(kinds) > 1 or not all(_aligned(*batch) for batch in batches):
        return None
    return [(torch.cat([y_pred for y_pred, _ in batches]), torch.cat([y for _, y in batches]))]


def _aligned(y_pred: Tensor, y: Tensor) -> bool:
    return y_pred.dim() > 0 and y.dim() > 0 and len(y_pred) == len(y)


def _merges(metric: AnyMetric, alike: bool) -> bool:
    """Whether one update with all batches is what as many updates would be."""
    if isinstance(metric, MetricCollection):
        return all(_merges(each, alike) for each in metric.values(copy_state=False))
    if metric.full_state_update is not False:
        return False
    family = type(metric).__module__
    return family.startswith(_REGRESSION) or (family.startswith(_CLASSIFICATION) and alike)


def _read_alike(scores: list[Tensor]) -> bool:
    """Whether torchmetrics takes all batches for probabilities, or all for logits.

    It takes the scores of an update for logits if any of them lies outside of 0..1. A batch that
    happens to have none would be read otherwise among others than alone.
    """
    if not scores[0].is_floating_point():
        return True
    if len({len(each) for each in scores}) == 1:
        together = torch.stack(scores).flatten(1)
        inside = ((together >= 0) & (together <= 1)).all(1)
    else:
        inside = torch.stack([((each >= 0) & (each <= 1)).all() for each in scores])
    return bool(inside.all() | ~inside.any())


def _sum_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _sum_over_processes(values: list[Any], device: torch.device) -> Tensor:
    dtype = _sum_dtype(device)
    if not values:
        return torch.zeros(0, dtype=dtype)
    sums = torch.stack([torch.as_tensor(each, dtype=dtype, device=device) for each in values])
    if _distributed():
        torch.distributed.all_reduce(sums)
    return sums


def _names_of_all_processes(names: list[str]) -> list[str]:
    if not _distributed():
        return names
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, names)
    return list(dict.fromkeys(name for each in gathered for name in each))
