"""Iterations over a loader, and what was handed out in them since it was told the epoch."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any


class Token:
    """Stands for a pass inside of its own generator, which must not keep the pass alive."""


class Pass:
    """One iteration over an epoch's batches."""

    def __init__(self, token: Token, batches: Generator[Any, None, None]) -> None:
        self.token = token
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._batches)


@dataclass
class Account:
    """What passes that are over have handed out in the epoch that was told, and what was wrong."""

    beginning: tuple[int, int] = (0, 0)  # differs when an epoch is told anew
    batches: int = 0
    samples: int = 0
    faults: list[str] = field(default_factory=list)
