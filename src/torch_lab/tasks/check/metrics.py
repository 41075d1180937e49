"""Metrics that are made for other classes than the data have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from torch_lab.tasks.check.findings import Finding, error, warning
from torch_lab.tasks.check.losses import operands
from torch_lab.tasks.check.subject import Call, Source, Subject
from torch_lab.tasks.check.targets import column


def metrics(subject: Subject) -> Iterator[Finding]:
    """Targets, of many samples, that a metric of classes doesn't count."""
    found: dict[tuple[str, str], Finding] = {}
    for call in subject.trial.calls:
        classes = _classes(call.owner) if call.name == "update" else None
        for source in subject.trial.of(call.stage) if classes else ():
            for finding in _beyond(call, source, classes or 0):
                found[type(call.owner).__name__, source.name] = finding
    yield from found.values()


def _classes(metric: Any) -> int | None:
    """How many classes it counts; 2 of a binary one, whose targets are 0 and 1."""
    kind = type(metric).__name__
    if kind.startswith("Multiclass"):
        count = getattr(metric, "num_classes", None)
        return count if isinstance(count, int) else None
    return 2 if kind.startswith("Binary") else None


def _beyond(call: Call, source: Source, classes: int) -> Iterator[Finding]:
    given, target = operands(call)
    if not isinstance(target, Tensor):
        return
    kind = type(call.owner).__name__
    if target.is_floating_point():
        # Of values with values torchmetrics says nothing: it counts those that are equal.
        alike = isinstance(given, Tensor) and given.shape == target.shape
        if kind.startswith("Multiclass") and (target.dim() > 1 or alike):
            yield warning(
                "metric-labels",
                f"{source.name}: {kind} takes the numbers of classes, but the targets are"
                f" floating-point, of shape {tuple(target.shape)}",
                call.place,
                "Give it y.argmax(dim=1): torch_lab.metrics.MetricWrapper does so.",
            )
        return
    many = column(source, target)
    values = target if many is None else many
    ignored = getattr(call.owner, "ignore_index", None)
    wrong = (values < 0) | (values >= classes)
    if ignored is not None:
        wrong &= values != ignored
    if bool(wrong.any()):
        yield error(
            "metric-labels",
            f"{source.name}: {kind} counts the classes 0 to {classes - 1}, but the targets are"
            f" {int(values.min())} to {int(values.max())}",
            call.place,
            "Give it the data's num_classes, or their ignore_index.",
        )
