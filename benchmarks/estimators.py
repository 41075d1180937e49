"""The whole of `train` for an estimator, beside calling `fit` by hand."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, seconds
from benchmarks.subjects import EXPERIMENTS, elapsed, installed

ROUNDS = 7
RATIO, CONSTANT = 1.02, 0.5
WHAT = {
    "forest": "`train` of a random forest (plain: `fit` by hand)",
    "rounds": "`train` of XGBoost in 50 rounds (plain: `fit` by hand)",
}


def run() -> list[Line]:
    return [_line(name, what) for name, what in WHAT.items()]


def _line(name: str, what: str) -> Line:
    script = str(EXPERIMENTS / "fitted" / "hparams.py")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "plain": [sys.executable, "-m", "benchmarks.bare", name, folder],
            "lab": [*installed("train"), script, "--set", f"estimator={name}"],
        }
        rounds = alternate(
            ROUNDS,
            {name: partial(elapsed, words, Path(folder)) for name, words in commands.items()},
        )
    more = rounds.difference("lab", to="plain")
    over = rounds.combined("lab", "plain", lambda lab, bare: lab - RATIO * bare)
    return Line(
        what,
        plain=seconds(rounds.median("plain")),
        lab=seconds(rounds.median("lab")),
        compared=f"{more.middle:+.2f} s ({more.low:.2f}-{more.high:.2f})",
        target="1.02x + 0.5 s",
        ok=over.middle <= CONSTANT,
    )
