"""The bins of HistGradientBoosting's samples, found once for all rounds.

Each warm start would find them anew, the same ones: with weights that takes longer than the round.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class Bins:
    """What the samples of the last `fit` were binned to."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._found: tuple[Any, Any] | None = None  # the mapper, and the samples in its bins

    @contextmanager
    def kept(self, estimator: Any, *of: Any) -> Iterator[None]:
        """Within, `fit` bins samples only if what they are made `of` is other than before."""
        if not (_bins(estimator) and _countable(of)):
            yield
            return
        if not self._is_of(of):
            self._of, self._versions, self._found = of, _versions(of), None

        def bin_data(x: Any, sample_weight: Any, is_training_data: bool) -> Any:
            if not is_training_data:
                return type(estimator)._bin_data(estimator, x, sample_weight, is_training_data)
            if self._found is None:
                binned = type(estimator)._bin_data(estimator, x, sample_weight, is_training_data)
                self._found = estimator._bin_mapper, binned
            estimator._bin_mapper, binned = self._found
            return binned

        estimator._bin_data = bin_data
        try:
            yield
        finally:
            del estimator._bin_data

    def _is_of(self, of: tuple[Any, ...]) -> bool:
        same = len(of) == len(self._of) and all(map(_is, of, self._of))
        return same and self._versions == _versions(of)


def _bins(estimator: Any) -> bool:
    kind = type(estimator)
    return kind.__module__.startswith("sklearn.ensemble.") and hasattr(kind, "_bin_data")


def _is(one: Any, other: Any) -> bool:
    """Lightning hands tables over as they are, and makes lists anew, such as texts as targets."""
    return one is other or (isinstance(one, list) and one == other)


def _countable(of: tuple[Any, ...]) -> bool:
    return not any(isinstance(each, Tensor) and each.is_inference() for each in of)


def _versions(of: tuple[Any, ...]) -> tuple[int, ...]:
    """How often tensors have been changed where they are."""
    return tuple(each._version if isinstance(each, Tensor) else 0 for each in of)
