"""What exactness costs a batch: torch-lab's DataLoader beside torch's."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.data import DataLoader as TorchDataLoader

from benchmarks.measuring import alternate
from benchmarks.models import ready_loader
from benchmarks.report import Line, micros

ROUNDS, BATCHES, SIZE = 25, 500, 8
LIMIT = 30e-6


class Numbers(torch.utils.data.Dataset[torch.Tensor]):
    """Samples that cost almost nothing to fetch."""

    def __init__(self) -> None:
        self._x = torch.randn(BATCHES * SIZE, 4)

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._x[index]


def run() -> list[Line]:
    from torch_lab.data import DataLoader

    numbers, ready = Numbers(), ready_loader(BATCHES)
    return [
        _line(
            "a batch of 8 samples, shuffled, no workers",
            TorchDataLoader(numbers, batch_size=SIZE, shuffle=True),
            DataLoader(numbers, batch_size=SIZE, shuffle=True, seed=1),
        ),
        _line(
            "a batch that is ready, in order, no workers",
            ready,
            DataLoader(ready.dataset, batch_size=None, seed=1),
        ),
    ]


def _line(what: str, torchs: Iterable[Any], labs: Iterable[Any]) -> Line:
    rounds = alternate(ROUNDS, {"torch": lambda: _pass(torchs), "lab": lambda: _pass(labs)})
    extra = rounds.difference("lab", to="torch")
    return Line(
        what,
        plain=micros(rounds.median("torch")),
        lab=micros(rounds.median("lab")),
        compared=f"+{1e6 * extra.middle:.1f} µs ({1e6 * extra.low:.1f}-{1e6 * extra.high:.1f})",
        target="+30 µs",
        ok=extra.middle <= LIMIT,
    )


def _pass(loader: Iterable[Any]) -> float:
    begin = time.perf_counter()
    for _ in loader:
        pass
    return (time.perf_counter() - begin) / BATCHES
