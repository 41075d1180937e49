"""Targets and indices, looked at in many samples: in the range that what is given them takes?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torch_lab.tasks.check.findings import Finding, error, note, warning
from torch_lab.tasks.check.losses import operands
from torch_lab.tasks.check.samples import in_order, same_place, survey
from torch_lab.tasks.check.spoken import number
from torch_lab.tasks.check.subject import Call, Source, Subject

_CLASSES = ("cross_entropy", "nll_loss")
_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_VALUES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_REACH = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, float("inf"))}
_ENOUGH = 10  # samples, to say something of all


def targets(subject: Subject) -> Iterator[Finding]:
    """All that targets and indices tell."""
    said: dict[tuple[str, str], Finding] = {}
    for call in subject.trial.calls:
        for source in subject.trial.of(call.stage):
            # The last word counts: a trial with two samples may have gone before.
            said.update({(each.code, source.name): each for each in _of(call, source)})
    yield from said.values()


def _of(call: Call, source: Source) -> Iterator[Finding]:
    if call.name == "embedding":
        yield from _rows(call, source)
        return
    target = operands(call)[1]
    if call.name not in (*_CLASSES, *_BINARY, *_VALUES) or not isinstance(target, Tensor):
        return
    many = column(source, target)
    values = target if many is None else many
    if call.name in _CLASSES and not target.is_floating_point():
        yield from _labels(call, source, values)
    elif call.kwargs.get("reduction") == "none":
        pass  # what is out of range may be left out of the sum
    elif call.name in _BINARY:
        yield from _between(call, source, values, (0.0, 1.0), f"{call.name} takes")
    elif call.name in _VALUES and call.made_by and call.made_by[0] in _REACH:
        maker = str(call.made_by[0])
        yield from _between(call, source, values, _REACH[maker], f"the network's {maker} reaches")
    if many is not None and call.stage == "train":
        yield from _variety(call, source, many)


def column(source: Source, tensor: Tensor) -> Tensor | None:
    """What many samples have where a tensor of the tried batch was taken from."""
    found = survey(source)
    if source.batch is None or found.batch is None:
        return None
    key = same_place(source.batch, tensor)
    return None if key is None else found.column(key)


def _labels(call: Call, source: Source, labels: Tensor) -> Iterator[Finding]:
    given, _ = operands(call)
    if not isinstance(given, Tensor) or not labels.numel() or given.dim() < 1:
        return
    classes = given.shape[1] if given.dim() > 1 else given.shape[0]
    ignored = call.kwargs.get("ignore_index", _positional(call, 4, -100))
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != ignored)]
    if wrong.numel():
        first, last = int(labels.min()), int(labels.max())
        yield error(
            "labels",
            f"{source.name}: labels from {first} to {last}, but the network scores {classes}"
            f" classes: 0 to {classes - 1}",
            call.place,
            f"{call.name} counts classes from 0." if first > 0 else "Mend the labels or the model.",
        )


def _positional(call: Call, place: int, default: Any) -> Any:
    return call.args[place] if len(call.args) > place else default


def _between(
    call: Call, source: Source, values: Tensor, reach: tuple[float, float], what: str
) -> Iterator[Finding]:
    if not values.numel() or values.dtype.is_complex:
        return
    low, high = float(values.min()), float(values.max())
    slack = 1e-4 * max(abs(high - low), 1.0)
    if low < reach[0] - slack or high > reach[1] + slack:
        to = f"{number(reach[0])} and more" if reach[1] == float("inf") else _span(*reach)
        yield warning(
            "target-range",
            f"{source.name}: targets are {_span(low, high)}, but {what} {to}",
            call.place,
            "Scale the targets, or let the network end otherwise.",
        )


def _span(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}"


def _rows(call: Call, source: Source) -> Iterator[Finding]:
    """Indices of an embedding that has too few rows."""
    asked, weight = operands(call)
    weight = weight if weight is not None else call.kwargs.get("weight")
    if not isinstance(asked, Tensor) or not isinstance(weight, Tensor) or not asked.dim():
        return
    many = column(source, asked)
    if many is None or many.is_floating_point() or not many.numel():
        return
    low, high = int(many.min()), int(many.max())
    if low < 0 or high >= weight.shape[0]:
        yield error(
            "index-range",
            f"{source.name}: indices from {low} to {high}, but the embedding has"
            f" {weight.shape[0]} rows: 0 to {weight.shape[0] - 1}",
            call.place,
            "num_embeddings is the largest index plus 1.",
        )


def _variety(call: Call, source: Source, many: Tensor) -> Iterator[Finding]:
    """Whether there is more than one label, and whether they come mixed."""
    count = len(survey(source).samples)
    if count < _ENOUGH or many.dim() > 2 or many.shape[0] != count:
        return
    labels = many[1:].squeeze(1) if many.dim() == 2 else many[1:]
    if labels.dim() != 1:
        return
    kinds = torch.unique(labels)
    if len(kinds) == 1 and call.name in _VALUES and float(kinds[0]) == 0:
        return  # what is to vanish: a residual
    if len(kinds) == 1:
        every = count >= len(source.dataset)  # else the other ones may be rare
        yield (warning if every else note)(
            "one-label",
            f"{source.name}: all of {count} samples have the target {number(float(kinds[0]))}",
            call.place,
            "Nothing but that can be learned from them.",
        )
    elif _is_sorted(labels, len(kinds)) and in_order(source.loader) and source.length != 1:
        yield warning(
            "sorted",
            f"{source.name}: samples come sorted by their label, and are not shuffled",
            call.place,
            "Give the DataLoader shuffle=True: else a batch has one class only.",
        )


def _is_sorted(labels: Tensor, kinds: int) -> bool:
    """In few long stretches, one after the other; two samples in order say nothing."""
    changes = int((labels[1:] != labels[:-1]).sum())
    return changes == kinds - 1 and len(labels) >= 3 * kinds
