"""Samples that are trained on and validated with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_lab.tasks.check.findings import Finding, note, warning
from torch_lab.tasks.check.samples import (
    Survey,
    has_indices,
    indices,
    origin,
    survey,
    tensors,
)
from torch_lab.tasks.check.subject import Source, Subject
from torch_lab.utils.text import plural

_SHARE = 0.5  # of the samples looked at, to be more than chance
_BYTES = 16  # of a sample: less may be equal by chance
_FEW = 4
_DIFFERENT = 0.9  # of the samples looked at
_MOST = 2_000_000  # indices to go through


def leaks(subject: Subject) -> Iterator[Finding]:
    """Validation and test loaders that share samples with training."""
    if subject.plan.hparams.trainer.init.get("overfit_batches"):
        return
    train = [each for each in subject.trial.of("train") if has_indices(each.loader)]
    for stage in ("validate", "test"):
        others = list(subject.trial.of(stage))
        for source in others:
            if not has_indices(source.loader):
                continue
            for each in train:
                yield from _between(each, source, alone=len(others) == 1)


def _between(train: Source, other: Source, alone: bool) -> Iterator[Finding]:
    make = warning if alone else note  # beside another, the training data may be meant to be seen
    shared, count = _by_index(train, other)
    if shared and count >= _FEW:  # a graph is one sample, of which masks tell the parts
        yield make(
            "same-samples",
            f"{other.name} and {train.name} share {plural(shared, 'sample')}"
            f" of {count}: what is validated on was trained on",
            None,
            "Split once: torch_lab.datasets.split, or random_split with one generator's seed.",
        )
        return
    equal, looked = _by_content(survey(train), survey(other))
    if looked >= _FEW and equal >= _SHARE * looked and not _repeats(survey(train)):
        yield make(
            "same-samples",
            f"{equal} of {looked} samples of {other.name} that were looked at are equal to samples"
            f" of {train.name}",
            None,
            "Keep what is validated on apart from what is trained on.",
        )


def _by_index(train: Source, other: Source) -> tuple[int, int]:
    """How many of the other's samples are train's too, as their datasets tell."""
    one, two = _origins(train), _origins(other)
    shared = 0
    for base, places in two:
        for known, theirs in one:
            if (base is known and not _is_drawn(base)) or (
                base is not known and _alike(base, known)
            ):
                shared += len(places & theirs)
    return shared, sum(len(places) for _, places in two)


def _origins(source: Source) -> list[tuple[Any, set[int]]]:
    """The datasets at the bottom, and the samples of each."""
    found: dict[int, tuple[Any, set[int]]] = {}
    every = indices(source.loader)
    if len(every) > _MOST or not all(isinstance(each, Integral) for each in every[:1]):
        return []
    for index in map(int, every):
        base, place = origin(source.dataset, index)
        found.setdefault(id(base), (base, set()))[1].add(place)
    return list(found.values())


def _is_drawn(dataset: Any) -> bool:
    """Whether a dataset holds nothing for each sample, and makes another one each time."""
    try:
        length = len(dataset)
        held = isinstance(dataset, (list, tuple)) or any(
            _has(value, length) for value in getattr(dataset, "__dict__", {}).values()
        )
        return not held and _mark(dataset[0]) != _mark(dataset[0])
    except Exception:  # noqa: BLE001  any, of the user's dataset
        return False


def _alike(one: Any, other: Any) -> bool:
    """Whether two datasets are of one kind and hold the same data; transforms may differ."""
    if type(one) is not type(other) or not hasattr(one, "__dict__"):
        return False
    try:
        length = len(one)
        if length != len(other) or length < _FEW:
            return False
    except TypeError:
        return False
    mine, theirs = vars(one), vars(other)
    long = [name for name, value in mine.items() if _has(value, length) and name in theirs]
    return bool(long) and all(_equal(mine[name], theirs[name]) for name in long)


def _has(value: Any, length: int) -> bool:
    """Whether it is a list or an array with an item for each sample."""
    if isinstance(value, (Tensor, np.ndarray)):
        return value.ndim > 0 and len(value) == length
    return isinstance(value, (list, tuple)) and len(value) == length


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        if isinstance(one, Tensor):
            return isinstance(other, Tensor) and torch.equal(one, other)
        if isinstance(one, np.ndarray):
            return bool(np.array_equal(one, other))
        return bool(one == other)
    except Exception:  # noqa: BLE001  any: comparing the user's objects
        return False


def _by_content(train: Survey, other: Survey) -> tuple[int, int]:
    """How many of the other's samples look the same as one of train's."""
    known = {mark for each in train.samples if (mark := _mark(each)) is not None}
    marks = [mark for each in other.samples if (mark := _mark(each)) is not None]
    return sum(mark in known for mark in marks), len(marks)


def _repeats(train: Survey) -> bool:
    """Whether there are so few different samples that equal ones are no wonder."""
    marks = [mark for each in train.samples if (mark := _mark(each)) is not None]
    return len(set(marks)) < _DIFFERENT * len(marks)


def _mark(sample: Any) -> bytes | None:
    """What a sample holds in floating-point numbers, hashed; None where that is too little."""
    values = [each for _, each in tensors(sample) if each.is_floating_point() and each.dim()]
    if sum(each.numel() * each.element_size() for each in values) < _BYTES:
        return None
    if all(bool((each == each.flatten()[:1]).all()) for each in values):
        return None
    found = hashlib.blake2b(digest_size=16)
    for each in values:
        found.update(each.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.digest()
