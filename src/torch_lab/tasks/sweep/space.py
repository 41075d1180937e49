"""All combinations of what a sweep asks for, in one order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.tasks.sweep.design import Sweep

MOST = 100_000


def combinations(sweep: Sweep) -> list[dict[str, Any]]:
    """What a trial's parameters can be; what is asked for may depend on earlier answers."""
    return list(_walked(sweep))


def _walked(sweep: Sweep) -> Iterator[dict[str, Any]]:
    path: list[int] = []
    for _ in range(MOST):
        walker = _Walker(path)
        sweep(walker)
        yield walker.params
        path, sizes = walker.path, walker.sizes
        while path and path[-1] == sizes[len(path) - 1] - 1:
            path.pop()
        if not path:
            return
        path[-1] += 1
    raise UsageError(
        f"the grid has more than {MOST} combinations", hint='Let a sampler choose: "random", "tpe".'
    )


class _Walker:
    """Answers as a trial does, and notes how many other answers there are."""

    number = 0

    def __init__(self, path: Sequence[int]) -> None:
        self._planned = list(path)
        self.path: list[int] = []
        self.sizes: list[int] = []
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of several values."""
        return self._answer(name, list(choices))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Any:
        """Each of the whole numbers."""
        if (high - low) // step >= MOST:
            raise UsageError(f"{name}: the grid has {high - low + 1} values of it alone")
        return self._answer(name, list(range(low, high + 1, step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        """Each of the numbers that steps lead to."""
        if step is None:
            raise UsageError(
                f"{name}: a grid has no room for all numbers from {low} to {high}",
                hint="Give suggest_float a step, or use suggest_categorical.",
            )
        first, width, last = Decimal(str(low)), Decimal(str(step)), Decimal(str(high))
        count = int((last - first) / width) + 1
        return self._answer(name, [float(first + width * i) for i in range(min(count, MOST))])

    def set_user_attr(self, key: str, value: Any) -> None:
        """Of no use here."""

    def _answer(self, name: str, values: list[Any]) -> Any:
        if name not in self.params:
            place = len(self.path)
            self.path.append(self._planned[place] if place < len(self._planned) else 0)
            self.sizes.append(len(values))
            self.params[name] = values[self.path[-1]]
        return self.params[name]
