"""Verbs that list and name runs, with many of them."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measuring import Rounds, alternate
from benchmarks.report import Line, seconds
from benchmarks.subjects import ROOT, elapsed, environment, installed

ROUNDS = 9
LIMITS = {1_000: 0.15, 10_000: 0.5}
SETTLED = 4.0  # seconds after which the index trusts that a file stays as it is
NAMES = ("00_digits-hparams_v7", "00_digits-hparams_v8")
VERBS = {
    "lab runs": ["runs"],
    "lab runs 'lr<0.5' --sort loss/validate": ["runs", "lr<0.5", "--sort", "loss/validate"],
    "lab runs --best loss/validate": ["runs", "--best", "loss/validate"],
    "lab runs --group-by width": ["runs", "--group-by", "width"],
    "lab show RUN": ["show", NAMES[0]],
    "lab diff RUN RUN": ["diff", *NAMES],
    "lab show RU<TAB>": ["completion", "zsh", "--words", "lab", "show", "00_d"],
}


def run() -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for count, limit in LIMITS.items():
            artifacts = Path(folder, f"{count}")
            make_runs(artifacts, count)
            lines += _measured(artifacts, count, limit)
        return lines


def make_runs(artifacts: Path, count: int) -> None:
    """Records of runs that have ended, as `train` leaves them; nothing else of these runs."""
    from torch_lab.store.record import CheckpointEntry, MetricSummary, Record
    from torch_lab.store.values import dumps

    now = time.time()
    names = [f"{name}/{stage}" for name in ("loss", "accuracy", "f1") for stage in STAGES]
    for number in range(count):
        name = f"00_digits-hparams_v{number}"
        record = Record(
            name=name,
            id=f"{number:032x}",
            status="completed",
            experiment="00_digits",
            script="example_project/experiments/00_digits/hparams.py",
            created=now - number,
            started=now - number,
            ended=now,
            command=("train", "example_project/experiments/00_digits/hparams.py"),
            hparams={
                "task": {"project_name": "digits", "tags": ["a", "b"]},
                "trainer": {"init": {"max_epochs": 30, "log_every_n_steps": 10}},
                "seed": number % 5,
                "config": {f"key_{i}": i / 7 for i in range(20)}
                | {"lr": number / count, "width": 2 ** (number % 6)},
            },
            seed=number % 5,
            metrics={each: MetricSummary(0.1 + 1 / (number + 1), 0.1, 1.0) for each in names},
            checkpoints=tuple(
                CheckpointEntry(
                    each,
                    f"checkpoints/step-{i}.ckpt",
                    "training",
                    i,
                    i,
                    i,
                    dict.fromkeys(names, 0.5),
                )
                for i, each in enumerate(("step-0", "step-1", "last", "best"))
            ),
            scripts={"__main__.py": 64 * "0", "hparams.py": 64 * "0"},
        )
        (artifacts / name).mkdir(parents=True)
        (artifacts / name / "run.json").write_bytes(dumps(record.as_json()))


STAGES = ("train", "validate", "test")


def _measured(artifacts: Path, count: int, limit: float) -> list[Line]:
    cache = artifacts.with_name(f"cache of {count}")
    time.sleep(SETTLED)
    lab = installed("lab")

    for words in VERBS.values():
        variables = environment(artifacts, XDG_CACHE_HOME=str(cache))
        assert subprocess.check_output([*lab, *words], cwd=ROOT, env=variables), words

    def anew() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return _worked([*lab, "runs"], artifacts, cache)

    subjects: dict[str, Callable[[], float]] = {"bare": partial(_worked, BARE, artifacts, cache)}
    subjects |= {
        verb: partial(_worked, [*lab, *words], artifacts, cache) for verb, words in VERBS.items()
    }
    rounds = alternate(ROUNDS, subjects)
    first = alternate(3, {"bare": subjects["bare"], "anew": anew})
    lines = [_line(f"{verb}: {count:,} runs", verb, rounds, limit) for verb in VERBS]
    return [*lines, _line(f"… the first time: {count:,} runs", "anew", first, None)]


BARE = [sys.executable, "-c", "pass"]


def _line(what: str, name: str, rounds: Rounds, limit: float | None) -> Line:
    over, cost = rounds.difference(name, to="bare"), rounds.median(name)
    return Line(
        what,
        plain=seconds(rounds.median("bare")),
        lab=seconds(cost),
        compared=f"+{seconds(over.middle)} ({seconds(over.low)}-{seconds(over.high)})",
        target="-" if limit is None else seconds(limit),
        ok=None if limit is None else cost <= limit,
    )


def _worked(words: Sequence[str], artifacts: Path, cache: Path) -> float:
    """Seconds that a command keeps a processor busy: others' work on the machine counts less."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    elapsed(words, artifacts, XDG_CACHE_HOME=str(cache))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
