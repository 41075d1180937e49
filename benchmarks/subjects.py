"""How torch-lab is run to be measured: by its commands, and in this process through `train`."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXPERIMENTS = Path(__file__).parent / "experiments"
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def environment(artifacts: Path, **changes: str) -> dict[str, str]:
    """This process's environment, with runs going to `artifacts`, and nowhere else."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TORCH_LAB_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode beside it
    own = {"TORCH_LAB_ARTIFACTS": str(artifacts), "TMPDIR": str(artifacts)}
    return kept | THREADS | own | {"TORCH_LAB_OFFLINE": "true"} | changes


def installed(name: str) -> list[str]:
    """The command `train`, `infer` or `lab`, installed beside this Python or through it."""
    script = Path(sys.executable).with_name(name)
    if script.exists():
        return [str(script)]
    return [sys.executable, "-m", "torch_lab", *([] if name == "lab" else [name])]


def elapsed(words: Sequence[str], artifacts: Path, **changes: str) -> float:
    """Seconds that a command takes; one that fails raises with what it said."""
    begin = time.perf_counter()
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=environment(artifacts, **changes),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    end = time.perf_counter()
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    return end - begin


@contextlib.contextmanager
def silently(artifacts: Path, **changes: str) -> Iterator[None]:
    """Runs of this process go to `artifacts`, and what they print goes nowhere."""
    before = dict(os.environ)
    os.environ.update({"TORCH_LAB_ARTIFACTS": str(artifacts), "TORCH_LAB_OFFLINE": "true"})
    os.environ.update(changes)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def train(experiment: str, artifacts: Path, *overrides: str, **changes: str) -> None:
    """The whole of `train`, from its options on: claim, lock, journal, checkpoints, record.

    `changes` are variables of the environment in which it runs.
    """
    from torch_lab.tasks.options import TrainOptions
    from torch_lab.tasks.train import train as task

    with silently(artifacts, **changes):
        task(TrainOptions(script=EXPERIMENTS / experiment / "hparams.py", overrides=overrides))
