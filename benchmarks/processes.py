"""What two processes gain on the same samples, where the network is most of the work."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, seconds, times
from benchmarks.subjects import EXPERIMENTS, elapsed, installed

ROUNDS, EPOCHS = 5, 3


def run() -> list[Line]:
    rounds = alternate(ROUNDS, {str(count): partial(_epoch, count) for count in (1, 2)})
    return [
        Line(
            "an epoch of 6,400 images in two processes, gloo (plain: in one)",
            plain=seconds(rounds.median("1")),
            lab=seconds(rounds.median("2")),
            compared=times(rounds.ratio("2", to="1")),
        )
    ]


def _epoch(processes: int) -> float:
    """Seconds of an epoch, validation included: the median of those after the first."""
    sets = (f"trainer.init.devices={processes}", f"trainer.init.max_epochs={EPOCHS}")
    words = [*installed("train"), str(EXPERIMENTS / "convnet" / "hparams.py")]
    with tempfile.TemporaryDirectory() as artifacts:
        elapsed([*words, *itertools.chain(*(("-s", each) for each in sets))], Path(artifacts))
        (journal,) = Path(artifacts).glob("*/metrics/0000.jsonl")
        rows = [json.loads(line) for line in journal.read_text().splitlines()]
    validated = (row for row in rows if row["batch"] and "loss/validate" in row["values"])
    ends = [float(row["t"]) for row in validated]
    return statistics.median(end - begin for begin, end in itertools.pairwise(ends))
