"""What runs logged, as arrays to draw: along steps, epochs and the time that training took."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torch_lab.store import journal
from torch_lab.store.find import StoredRun
from torch_lab.store.journal import Row
from torch_lab.store.record import Record

AXES = ("step", "epoch", "time")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One metric of one run; `epoch` counts epochs done, `time` seconds of training."""

    step: Floats
    epoch: Floats
    time: Floats
    value: Floats

    def along(self, axis: str) -> Floats:
        """Where the values lie on an axis."""
        found: Floats = getattr(self, axis)
        return found

    @property
    def last(self) -> float:
        """The value that was logged last."""
        return float(self.value[-1])

    @property
    def least(self) -> float:
        """The least value; NaN where there is no number."""
        numbers = self.value[~np.isnan(self.value)]
        return float(numbers.min()) if len(numbers) else math.nan

    @property
    def greatest(self) -> float:
        """The greatest value; NaN where there is no number."""
        numbers = self.value[~np.isnan(self.value)]
        return float(numbers.max()) if len(numbers) else math.nan


def curves(run: StoredRun) -> dict[str, Curve]:
    """All that a run has logged by now, by metric."""
    counts = array("d")
    logged: dict[str, tuple[array[float], array[float]]] = {}
    for number, row in enumerate(journal.rows(run.directory)):
        counts.extend(_counts(row))
        for name, value in row.values.items():
            if name not in logged:
                logged[name] = array("d"), array("d")
            places, values = logged[name]
            places.append(number)
            values.append(value)
    t, batch, step, epoch = np.array(counts, dtype=np.float64).reshape(-1, 4).T
    when, done = training_time(t, run.record), epochs_done(epoch, batch, run.record)
    found = {}
    for name, (places, values) in logged.items():
        at = np.array(places, dtype=np.int64)
        found[name] = Curve(step[at], done[at], when[at], np.array(values, dtype=np.float64))
    return found


def _counts(row: Row) -> tuple[float, float, float, float]:
    """Time, batch, step and epoch; of a row that was written by hand whatever there is."""
    try:
        return row.t, row.batch, float(row.step), float(row.epoch)
    except (TypeError, ValueError):
        return row.t, row.batch, row.batch, 0


def training_time(t: Floats, record: Record) -> Floats:
    """Seconds since the run began, without those between its end and its being resumed."""
    if not len(t):
        return t
    begun = record.started if record.started is not None else t[0]
    passed: Floats = np.maximum(t - min(begun, t[0]), 0.0)
    for resume in record.resumes:
        later = t >= resume.time
        if later.any() and not later.all():
            idle = resume.time - t[~later].max()
            passed[later] -= max(idle, 0.0)
    return passed


def epochs_done(epoch: Floats, batch: Floats, record: Record) -> Floats:
    """Epochs gone through, with the part of the one under way that its batches are."""
    done = epoch.copy()
    for number, first, length in _epochs(epoch, batch, record):
        inside = epoch == number
        done[inside] += np.clip((batch[inside] - first) / max(length, 1.0), 0.0, 1.0)
    return done


def _epochs(epoch: Floats, batch: Floats, record: Record) -> Iterator[tuple[float, float, float]]:
    """The number, the batches before it, and the batches in it, of each epoch in the rows."""
    numbers, where = np.unique(epoch, return_inverse=True)
    ends = np.full(len(numbers), -np.inf)
    np.maximum.at(ends, where, batch)
    if not len(numbers):
        return
    begun = 0.0 if numbers[0] == 0 else float(batch[epoch == numbers[0]].min())
    firsts = [begun, *(float(end) for end in np.maximum.accumulate(ends)[:-1])]
    lengths = [float(end) - first for end, first in zip(ends, firsts, strict=True)]
    # Nobody may have seen the end of the last one.
    lengths[-1] = max([lengths[-1], *_planned(record), *lengths[-2:-1]])
    yield from zip(map(float, numbers), firsts, lengths, strict=True)


def _planned(record: Record) -> list[float]:
    """The batches that the epoch under way, or else the last one, was planned to have."""
    ledger = record.ledger or {}
    known = [ledger.get("open"), *reversed(ledger.get("epochs") or [])]
    found = [each.get("planned") for each in known if isinstance(each, Mapping)]
    return [float(each) for each in found[:1] if isinstance(each, int)]


def span(curves: Sequence[Curve], axis: str) -> float:
    """From the first to the last place on an axis that any of the curves has."""
    places = [curve.along(axis) for curve in curves if len(curve.value)]
    if not places:
        return 0.0
    return float(max(each.max() for each in places) - min(each.min() for each in places))
