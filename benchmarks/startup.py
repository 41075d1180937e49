"""Commands that load nothing heavy."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, seconds, times
from benchmarks.subjects import elapsed, installed

ROUNDS = 15
LIMIT, RATIO = 0.1, 2.0


def run() -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        return _measured(Path(folder))


def _measured(folder: Path) -> list[Line]:
    names, code = _reference()
    commands = {
        "reference": [sys.executable, "-c", code],
        "train --help": [*installed("train"), "--help"],
        "infer --help": [*installed("infer"), "--help"],
    }
    rounds = alternate(
        ROUNDS, {name: partial(elapsed, words, folder) for name, words in commands.items()}
    )
    lines = []
    for name in list(commands)[1:]:
        ratio, cost = rounds.ratio(name, to="reference"), rounds.median(name)
        judged = names == "click, rich"
        lines.append(
            Line(
                f"{name} (plain: {names})",
                plain=seconds(rounds.median("reference")),
                lab=seconds(cost),
                compared=times(ratio),
                target="100 ms and 2x" if judged else "100 ms",
                ok=cost <= LIMIT and (ratio.middle <= RATIO or not judged),
            )
        )
    return lines


def _reference() -> tuple[str, str]:
    """click and rich where they can be imported, for comparison; torch-lab needs neither."""
    if all(importlib.util.find_spec(name) for name in ("click", "rich")):
        return "click, rich", "import click, rich"
    return "bare python; click and rich are not installed", "pass"
