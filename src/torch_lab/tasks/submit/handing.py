"""sbatch, asked to take a job: its number, or what it said instead."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from torch_lab.errors import SlurmError
from torch_lab.tasks.plan import say

_PATIENCE = 120.0  # seconds: sbatch itself tries again and again where Slurm is busy
_ANSWER = re.compile(r"(\d+)(?:;(\S+))?")
_SET = "ARRAY_INX ERROR JOB_NAME NO_REQUEUE OPEN_MODE OUTPUT REQUEUE SIGNAL"
_OURS = {f"SBATCH_{name}" for name in _SET.split()}


@dataclass(frozen=True)
class Taken:
    """The job that Slurm has made, on which cluster if it says so."""

    job: str
    cluster: str | None


class Unanswered(SlurmError):
    """Nobody knows whether Slurm has the job."""


def require_slurm() -> None:
    """Raise where there is no Slurm to hand anything to."""
    if shutil.which("sbatch") is None:
        raise SlurmError(
            "there is no sbatch here: `lab submit` needs Slurm",
            hint="Type it on a node of the cluster; --dry-run shows the batch script anywhere.",
        )


@contextmanager
def not_cut_off() -> Iterator[None]:
    """Inside, a first Ctrl-C waits: it must not fall between a job and the word of its number."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or somebody else's
        yield
        return
    pressed: list[int] = []

    def wait(signum: int, frame: FrameType | None) -> None:
        if pressed:
            signal.default_int_handler(signum, frame)
        pressed.append(signum)
        say("waiting for sbatch, which may have made a job (once more ends at once)")

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def hand_over(script: Path, typed: Iterable[str]) -> Taken:
    """Give Slurm a batch script; SlurmError where it refuses, Unanswered where it may have it."""
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", str(script)],
            env=_environment(typed),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
            start_new_session=True,  # out of reach of the terminal's Ctrl-C, as `not_cut_off` says
        )
    except subprocess.TimeoutExpired as error:
        raise Unanswered("sbatch does not answer", hint=_unknown(script)) from error
    except OSError as error:
        raise SlurmError(f"sbatch can't be run: {error.strerror or error}") from error
    if done.returncode:
        raise SlurmError(f"Slurm refuses the job: {_said(done.stderr or done.stdout)}")
    for line in reversed(done.stdout.splitlines()):
        if found := _ANSWER.fullmatch(line.strip()):
            return Taken(found[1], found[2])
    raise Unanswered(f"sbatch says {_said(done.stdout)!r}, no number", hint=_unknown(script))


def _said(text: str) -> str:
    """What sbatch has to say: its lines without the prefix that each of them has."""
    lines = [
        line.removeprefix("sbatch: ").removeprefix("error: ").strip() for line in text.splitlines()
    ]
    return "\n".join(line for line in lines if line) or "it doesn't say why"


def _unknown(script: Path) -> str:
    name = script.parent.name
    return f"It may have the job all the same: `squeue --name {name}` tells, and `lab runs`."


def _environment(typed: Iterable[str]) -> dict[str, str]:
    """What the job gets of this environment.

    Variables of a job that this is typed in would set limits for the new one; SBATCH_* go before a
    script's lines, but not before what was typed, nor what a run depends on.
    """
    over = {*_OURS, *(variable for name in typed for variable in _variables(name))}
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not (name.startswith("SLURM_") or name in over)
    }


def _variables(option: str) -> Iterator[str]:
    names = {"time": ("timelimit",), "gpus": ("gpus", "gpus-per-node", "gres")}
    for name in names.get(option, (option,)):
        yield f"SBATCH_{name.upper().replace('-', '_')}"
