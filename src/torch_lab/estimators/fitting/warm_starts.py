"""What each warm start of scikit-learn's boosting would find anew of the same samples.

HistGradientBoosting checks and bins them: with weights that takes longer than a round. Both kinds
go through all of their trees for what the rounds so far come to: a cost of rounds squared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from torch_lab.estimators.margins import Adding, growing_of


class WarmStarts:
    """What the last `fit` has found of its samples."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._bins: tuple[Any, Any] | None = None  # the mapper, and the samples in its bins
        self._categories: Any = None
        self._sum = _Sum()

    @contextmanager
    def kept(self, estimator: Any, *of: Any) -> Iterator[None]:
        """Within, `fit` finds only what is new, if what it is made `of` is the same as before."""
        if growing_of(estimator) is None or not _countable(of):
            yield
            return
        of = (estimator, *of)
        if not self._is_of(of):
            self._of, self._versions, self._bins, self._sum = of, _versions(of), None, _Sum()
        own = {"_raw_predict": self._summing(estimator)}
        if hasattr(estimator, "_bin_data"):
            own |= {
                "_preprocess_X": self._checking(estimator),
                "_bin_data": self._binning(estimator),
            }
        vars(estimator).update(own)
        try:
            yield
        finally:
            for name in own:
                del vars(estimator)[name]

    def _checking(self, estimator: Any) -> Callable[..., Any]:
        def preprocess(x: Any, *, reset: bool) -> Any:
            if reset and self._bins is not None:
                return self._bins[1], self._categories  # as many, and they will be binned
            found = type(estimator)._preprocess_X(estimator, x, reset=reset)
            if reset:
                self._categories = found[1]
            return found

        return preprocess

    def _binning(self, estimator: Any) -> Callable[..., Any]:
        def bin_data(x: Any, sample_weight: Any, is_training_data: bool) -> Any:
            if not is_training_data:
                return type(estimator)._bin_data(estimator, x, sample_weight, is_training_data)
            if self._bins is None:
                binned = type(estimator)._bin_data(estimator, x, sample_weight, is_training_data)
                self._bins = estimator._bin_mapper, binned
            estimator._bin_mapper, binned = self._bins
            return binned

        return bin_data

    def _summing(self, estimator: Any) -> Callable[..., Any]:
        """Asked once by a warm start, for the samples that it fits, before it adds rounds."""

        def raw_predict(x: Any, **options: Any) -> Any:
            bare = copy.copy(estimator)
            del vars(bare)["_raw_predict"]
            ensemble = growing_of(bare)
            assert ensemble is not None
            return self._sum.after(ensemble, x, lambda: bare._raw_predict(x, **options))

        return raw_predict

    def _is_of(self, of: tuple[Any, ...]) -> bool:
        same = len(of) == len(self._of) and all(map(_is, of, self._of))
        return same and self._versions == _versions(of)


class _Sum:
    """What the rounds come to for the samples that are fitted."""

    def __init__(self) -> None:
        self._done = 0
        self._found: Any = None
        self._adds: bool | None = None  # unknown until it was held against what all trees give

    def after(self, ensemble: Adding, x: Any, whole: Callable[[], Any]) -> Any:
        """The rounds' that there are by now, to be changed by whoever asks."""
        done, before = self._done, self._found
        self._done = ensemble.rounds
        if before is None or self._adds is False or self._done < done:
            found = whole()
        else:
            found = ensemble.margin(x, done, self._done, before)
            if self._adds is None:
                expected = whole()
                self._adds = np.array_equal(found, expected, equal_nan=True)
                found = expected
        self._found = None if self._adds is False else found.copy()
        return found


def _is(one: Any, other: Any) -> bool:
    """Lightning hands tables over as they are, and makes lists anew, such as texts as targets."""
    return one is other or (isinstance(one, list) and one == other)


def _countable(of: tuple[Any, ...]) -> bool:
    return not any(isinstance(each, Tensor) and each.is_inference() for each in of)


def _versions(of: tuple[Any, ...]) -> tuple[int, ...]:
    """How often tensors have been changed where they are."""
    return tuple(each._version if isinstance(each, Tensor) else 0 for each in of)
