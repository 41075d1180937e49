"""The whole of `train`, from the shell's point of view."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, seconds, times
from benchmarks.subjects import EXPERIMENTS, elapsed, installed

ROUNDS = 5
RATIO, CONSTANT = 1.05, 0.5


def run() -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        bare = [sys.executable, "-m", "benchmarks.bare"]
        script = str(EXPERIMENTS / "convnet" / "hparams.py")
        commands = {
            "plain": [*bare, "plain", folder],
            "lightning": [*bare, "lightning", folder],
            "lab": [*installed("train"), script],
        }
        rounds = alternate(
            ROUNDS,
            {name: partial(elapsed, words, Path(folder)) for name, words in commands.items()},
        )
    over = rounds.combined("lab", "lightning", lambda lab, bare: lab - RATIO * bare)
    return [
        Line(
            "the whole of `train`, 8 epochs of 100 batches",
            plain=seconds(rounds.median("plain")),
            lightning=seconds(rounds.median("lightning")),
            lab=seconds(rounds.median("lab")),
            compared=times(rounds.ratio("lab", to="lightning")),
            target="1.05x + 0.5 s",
            ok=over.middle <= CONSTANT,
        )
    ]
