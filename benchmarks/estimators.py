"""The whole of `train` for an estimator, beside calling `fit` by hand."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, seconds
from benchmarks.subjects import EXPERIMENTS, elapsed, installed

ROUNDS = 7
RATIO, CONSTANT = 1.02, 0.5
# What is trained, and what is done by hand in its place.
WHAT = {
    "forest": {"forest": "`train` of a random forest (plain: `fit` by hand)"},
    "rounds": {
        "judged": "`train` of XGBoost in 50 rounds (plain: `fit`, the same metrics each round)",
        "rounds": "`train` of XGBoost in 50 rounds (plain: `fit`, XGBoost's metrics each round)",
    },
    "staged": {
        "staged": "`train` of HistGradientBoosting in 100 rounds (plain: `fit`, the same metrics)",
    },
}


def run() -> list[Line]:
    return [line for name, plain in WHAT.items() for line in _lines(name, plain)]


def _lines(name: str, plain: Mapping[str, str]) -> Iterator[Line]:
    script = str(EXPERIMENTS / "fitted" / "hparams.py")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            each: [sys.executable, "-m", "benchmarks.bare", each, folder] for each in plain
        } | {"lab": [*installed("train"), script, "--set", f"estimator={name}"]}
        rounds = alternate(
            ROUNDS,
            {name: partial(elapsed, words, Path(folder)) for name, words in commands.items()},
        )
    for each, what in plain.items():
        more = rounds.difference("lab", to=each)
        over = rounds.combined("lab", each, lambda lab, bare: lab - RATIO * bare)
        yield Line(
            what,
            plain=seconds(rounds.median(each)),
            lab=seconds(rounds.median("lab")),
            compared=f"{more.middle:+.2f} s ({more.low:.2f}-{more.high:.2f})",
            target="1.02x + 0.5 s",
            ok=over.middle <= CONSTANT,
        )
