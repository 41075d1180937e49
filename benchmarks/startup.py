"""Commands that load nothing heavy."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, seconds, times
from benchmarks.subjects import elapsed, installed

ROUNDS = 15
LIMIT, RATIO = 0.1, 2.0
METRICS = ("loss/train", "loss/validate", "accuracy/train", "accuracy/validate")


def run() -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        make_runs(few, 100)
        make_runs(many, 1000)
        return _measured(few, many)


def _measured(few: Path, many: Path) -> list[Line]:
    names, code = _reference()
    commands = {
        "reference": ([sys.executable, "-c", code], few),
        "train --help": ([*installed("train"), "--help"], few),
        "infer --help": ([*installed("infer"), "--help"], few),
        "lab runs: 100 runs": ([*installed("lab"), "runs"], few),
        "lab runs: 1,000 runs": ([*installed("lab"), "runs"], many),
    }
    rounds = alternate(
        ROUNDS, {name: partial(elapsed, *command) for name, command in commands.items()}
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


def make_runs(artifacts: Path, count: int) -> None:
    """Runs with hparams, metrics and checkpoints, written by the store's own code."""
    from torch_lab.store.claim import claim, new_id
    from torch_lab.store.lock import Lock
    from torch_lab.store.record import CheckpointEntry, MetricSummary, Record, RecordWriter

    now = time.time()
    for number in range(count):
        directory = claim(artifacts, "00_digits-hparams")
        lock = Lock.acquire(directory, lost_after=60)
        record = Record(
            name=directory.name,
            id=new_id(),
            status="completed",
            experiment="00_digits",
            script="example_project/experiments/00_digits/hparams.py",
            created=now - number,
            started=now - number,
            ended=now,
            command=("train", "example_project/experiments/00_digits/hparams.py"),
            hparams={"config": {"lr": number * 1e-4, "width": 16}, "seed": number},
            seed=number,
            metrics={name: MetricSummary(0.1 * number, 0.0, 1.0) for name in METRICS},
            checkpoints=tuple(
                CheckpointEntry(name, f"checkpoints/step-{i}.ckpt", "training", i, i, i)
                for i, name in enumerate(("step-0", "step-1", "last", "best"))
            ),
            scripts={"__main__.py": 64 * "0", "hparams.py": 64 * "0"},
        )
        RecordWriter(directory, lock, record).update()
        lock.release()
