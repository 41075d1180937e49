"""Predictions of the same tables after each round, by what the round has added.

Boosting adds what a round makes of a sample to what those before it have come to. Where it goes on
from such a sum as it would by itself, the result is, bit by bit, what all rounds give.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from torch_lab.estimators.margins import boosters, growing


class Adding(Protocol):
    """How an ensemble adds up."""

    @property
    def rounds(self) -> int:
        """How many there are by now."""

    def margin(self, given: Any, first: int, last: int, base: Any) -> Any:
        """What the rounds from `first` to before `last` add to `base`; None: to where it begins."""

    def predicted(self, method: str, margin: Any) -> Any:
        """What the estimator's `method` makes of what rounds came to."""


_GROWING: dict[str, Callable[[Any], Adding]] = {
    "HistGradientBoostingClassifier": growing.Histograms,
    "HistGradientBoostingRegressor": growing.Histograms,
    "GradientBoostingClassifier": growing.Stages,
    "GradientBoostingRegressor": growing.Stages,
}


@dataclass
class _Sum:
    """The margins of a table's samples after the first `done` rounds."""

    table: weakref.ref[Any]
    version: int
    done: int
    margin: Any = None  # none of a table that was seen but once
    proven: bool = False

    def add(self, ensemble: Adding, given: Any, done: int) -> Any:
        """The margins after `done` rounds."""
        if self.margin is None:
            self.margin = ensemble.margin(given, 0, self.done, None)
        if done > self.done:
            self.margin = ensemble.margin(given, self.done, done, self.margin)
            self.done = done
        return self.margin


class Margins:
    """What the rounds of one training have summed up to, for each table that comes again."""

    def __init__(self) -> None:
        self._subject: Callable[[], Any] = _nothing
        self._ensemble: Adding | None = None
        self._sums: list[_Sum] = []

    def predicted(self, estimator: Any, method: str, table: Any, given: Any) -> Any:
        """What the estimator's `method`, predict or predict_proba, returns for `given`.

        `table` is what `given` was made of: the same object again means the same samples.
        """
        subject = getattr(estimator, "_Booster", estimator)
        if subject is not self._subject():
            self._begin(estimator, subject)
        if (ensemble := self._ensemble) is None:
            return getattr(estimator, method)(given)
        done = ensemble.rounds
        known = self._known(table, done)
        if known is not None and known.proven:
            return ensemble.predicted(method, known.add(ensemble, given, done))
        whole = getattr(estimator, method)(given)
        if known is not None:
            known.proven = done > known.done
            add = partial(known.add, ensemble, given, done)
            if not _agrees(whole, ensemble, method, add):
                self._ensemble = None
                self._sums.clear()
        return whole

    def _begin(self, estimator: Any, subject: Any) -> None:
        self._sums.clear()
        self._ensemble = None if subject is None else _adding(estimator)
        self._subject = _nothing if subject is None else weakref.ref(subject)

    def _known(self, table: Any, done: int) -> _Sum | None:
        """What the table's margins were before; None of one that is new, or has changed."""
        version = _version(table)
        self._sums = [each for each in self._sums if each.table() is not None]
        for each in [each for each in self._sums if each.table() is table]:
            if each.version == version and each.done <= done:
                return each
            self._sums.remove(each)
        if version is not None:
            self._sums.append(_Sum(weakref.ref(table), version, done))
        return None


def _nothing() -> None:
    return None


def growing_of(estimator: Any) -> Adding | None:
    """How one of scikit-learn's adds up; None where it isn't known to."""
    kind = type(estimator)
    if not kind.__module__.startswith("sklearn.ensemble.") or kind.__name__ not in _GROWING:
        return None
    return _GROWING[kind.__name__](estimator)


def _adding(estimator: Any) -> Adding | None:
    """How it adds up; None where a round may change what those before it have come to."""
    if "_Booster" in vars(estimator) and boosters.only_adds(estimator):
        return boosters.Trees(estimator)
    return growing_of(estimator)


def _agrees(whole: Any, ensemble: Adding, method: str, added: Callable[[], Any]) -> bool:
    """Whether what the new rounds add comes to what all rounds give."""
    try:
        found = ensemble.predicted(method, added())
    except (AttributeError, LookupError, TypeError, ValueError):
        return False  # another version of the library may be made otherwise
    return found.dtype == whole.dtype and bool(np.array_equal(found, whole, equal_nan=True))


def _version(table: Any) -> int | None:
    """Counts a tensor's changes; None for what can't be known again."""
    if isinstance(table, Tensor):
        return None if table.is_inference() else table._version
    try:
        weakref.ref(table)
    except TypeError:
        return None
    return 0
