"""Repeats that take turns, so that a busy moment of the machine falls on all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of repeats and the quartiles around it."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        low, middle, high = statistics.quantiles(list(values), n=4, method="inclusive")
        return cls(middle, low, high)


class Rounds:
    """What each subject measured in each round."""

    def __init__(self, values: Mapping[str, list[float]]) -> None:
        self._values = values

    def median(self, name: str) -> float:
        return statistics.median(self._values[name])

    def ratio(self, name: str, to: str) -> Spread:
        """The quotient within each round: what slows a whole round down cancels out."""
        return self.combined(name, to, lambda one, other: one / other)

    def difference(self, name: str, to: str) -> Spread:
        return self.combined(name, to, lambda one, other: one - other)

    def combined(self, name: str, to: str, how: Callable[[float, float], float]) -> Spread:
        pairs = zip(self._values[name], self._values[to], strict=True)
        return Spread.of(how(one, other) for one, other in pairs)


def alternate(rounds: int, subjects: Mapping[str, Callable[[], float]]) -> Rounds:
    """Let the subjects take turns, forwards and backwards; a first round is not counted."""
    values: dict[str, list[float]] = {name: [] for name in subjects}
    names = list(subjects)
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            measured = subjects[name]()
            if number:
                values[name].append(measured)
    return Rounds(values)
