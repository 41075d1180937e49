"""What one more script costs where `train` gets several of them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, seconds, times
from benchmarks.subjects import EXPERIMENTS, elapsed, installed

ROUNDS, COUNT = 5, 9


def run() -> list[Line]:
    script = str(EXPERIMENTS / "mlp" / "hparams.py")
    short = ["--dev-run", "1", "-s", "trainer.init.max_epochs=1"]
    train = installed("train")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "alone": [*train, script, *short],
            "one": [*train, script, "-j", "1", *short],
            "many": [*train, *[script] * COUNT, "-j", "1", *short],
        }
        rounds = alternate(
            ROUNDS,
            {name: partial(elapsed, words, Path(folder)) for name, words in commands.items()},
        )
    alone = seconds(rounds.median("alone"))
    return [
        Line(
            f"`train` with one batch: by itself, and each of {COUNT} scripts of one command",
            plain=alone,
            lab=seconds(rounds.median("many") / COUNT),
            compared=times(rounds.combined("many", "alone", lambda many, one: many / COUNT / one)),
        ),
        Line(
            "… and one more of them",
            plain=alone,
            lab=seconds(rounds.difference("many", to="one").middle / (COUNT - 1)),
        ),
        Line(
            "… and the only one of them (`-j 1`)",
            plain=alone,
            lab=seconds(rounds.median("one")),
            compared=times(rounds.ratio("one", to="alone")),
        ),
    ]
