"""A row of the journal."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import alternate
from benchmarks.report import Line, micros, times

ROUNDS, ROWS = 15, 500
LIMIT = 20e-6
VALUES: dict[str, Any] = {
    "loss/train": 0.123456789,
    "accuracy/train": 0.9375,
    "f1/train": 0.91234,
    "lr-Adam": 1e-3,
}


def run() -> list[Line]:
    from pytorch_lightning.loggers import CSVLogger

    from torch_lab.store.journal import Journal
    from torch_lab.store.paths import RunDirectory

    with tempfile.TemporaryDirectory() as folder, Path(folder, "plain").open("w") as file:
        journal, csv = Journal(RunDirectory(Path(folder)), after=0), CSVLogger(folder)

        def plain(i: int) -> None:
            file.write(json.dumps({"step": i} | VALUES) + "\n")
            file.flush()

        def lightning(i: int) -> None:
            csv.log_metrics(VALUES, i)
            csv.save() if i % 100 == 0 else None

        rounds = alternate(
            ROUNDS,
            {
                "plain": lambda: _each(plain),
                "lightning": lambda: _each(lightning),
                "lab": lambda: _each(lambda i: journal.append(i, i, 0, VALUES)),
            },
        )
        journal.close()
    cost = rounds.median("lab")
    return [
        Line(
            "a journal row of 4 values (Lightning: CSVLogger)",
            plain=micros(rounds.median("plain")),
            lightning=micros(rounds.median("lightning")),
            lab=micros(cost),
            compared=times(rounds.ratio("lab", to="plain")),
            target="20 µs",
            ok=cost < LIMIT,
        )
    ]


def _each(write: Callable[[int], None]) -> float:
    begin = time.perf_counter()
    for i in range(ROWS):
        write(i)
    return (time.perf_counter() - begin) / ROWS
