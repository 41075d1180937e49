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


def environment(artifacts: Path) -> dict[str, str]:
    """This process's environment, with runs going to `artifacts`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TORCH_LAB_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode beside it
    return kept | THREADS | {"TORCH_LAB_ARTIFACTS": str(artifacts), "TMPDIR": str(artifacts)}


def installed(name: str) -> list[str]:
    """The command `train`, `infer` or `lab`, installed beside this Python or through it."""
    script = Path(sys.executable).with_name(name)
    if script.exists():
        return [str(script)]
    return [sys.executable, "-m", "torch_lab", *([] if name == "lab" else [name])]


def elapsed(words: Sequence[str], artifacts: Path) -> float:
    """Seconds that a command takes; one that fails raises with what it said."""
    begin = time.perf_counter()
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=environment(artifacts),
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
def silently(artifacts: Path) -> Iterator[None]:
    """Runs of this process go to `artifacts`, and what they print goes nowhere."""
    before = os.environ.get("TORCH_LAB_ARTIFACTS")
    os.environ["TORCH_LAB_ARTIFACTS"] = str(artifacts)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        del os.environ["TORCH_LAB_ARTIFACTS"]
        if before is not None:
            os.environ["TORCH_LAB_ARTIFACTS"] = before


def train(experiment: str, artifacts: Path, *overrides: str) -> None:
    """The whole of `train`, from its options on: claim, lock, journal, checkpoints, record."""
    from torch_lab.tasks.options import TrainOptions
    from torch_lab.tasks.train import train as task

    with silently(artifacts):
        task(TrainOptions(script=EXPERIMENTS / experiment / "hparams.py", overrides=overrides))
