"""The starts of a run that a drill makes, and what became of each."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.engine.drill import Cut, Drill
from torch_lab.errors import RunError
from torch_lab.tasks.drill.traces import Trace, read_trace

_STARTER = "torch_lab.tasks.drill.starter"
# A drill records nothing for others, and sends nothing.
_ENVIRONMENT = {
    "TORCH_LAB_OFFLINE": "true",
    "TORCH_LAB_REQUIRE_SERVER": "false",
    "TORCH_LAB_TENSORBOARD": "false",
    "TORCH_LAB_MACHINE_USE_SECONDS": "0",
    "WANDB_MODE": "disabled",
}


@dataclass(frozen=True)
class Failure:
    """How a start ended that should not have: in words, and as a command would show it."""

    summary: str
    text: str
    mistake: bool = False


@dataclass(frozen=True)
class Attempt:
    """One start of a run: resumed `after` so many batches, cut or ended, with what was seen."""

    after: int | None
    cut: Cut | None
    trace: Trace
    failure: Failure | None
    seconds: float
    was_cut: bool = False


@dataclass(frozen=True)
class Copy:
    """A short copy of an experiment, in a folder of its own."""

    script: Path
    overrides: tuple[str, ...]
    folder: Path
    limited: bool = True  # by hparams themselves, see Drill

    @property
    def artifacts(self) -> Path:
        """Where its one run is kept."""
        return self.folder / "artifacts"

    def run(self) -> str | None:
        """The run's directory, where there is one to resume."""
        found = sorted(self.artifacts.glob("*_v*/run.json"))
        return str(found[-1].parent) if found else None


class Starter:
    """A process that runs attempts one after the other; it has imported all that they need."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _STARTER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # a terminal's Ctrl-C is for who started it
            )
        self._ready = False

    def close(self) -> None:
        """End it, and whatever it runs."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()
        self._process.wait()

    def attempt(
        self, copy: Copy, name: str, cut: Cut | None = None, *, limit: float | None = None
    ) -> Attempt:
        """Begin the copy's run, or go on with it, until it ends or is cut."""
        copy.folder.mkdir(exist_ok=True)
        drill = Drill(copy.folder / f"{name}.jsonl", cut, copy.limited)
        outcome = copy.folder / f"{name}.outcome"
        order = {
            "script": str(copy.script),
            "resume": (run := copy.run()),
            "overrides": [] if run else copy.overrides,
            "drill": drill.as_text(),
            "environment": _ENVIRONMENT | _folders(copy),
            "log": str(copy.folder / f"{name}.log"),
            "outcome": str(outcome),
        }
        if not self._ready:
            self._answer()
            self._ready = True
        begin = time.monotonic()
        status = self._ask(order, limit)
        trace = read_trace(drill.file)
        after = None if trace.resumed is None else trace.resumed.batch
        was_cut = status == -9 and cut is not None
        if not was_cut:  # nobody resumes it: what it has seen is all that is wanted
            shutil.rmtree(copy.artifacts, ignore_errors=True)
        failure = None if was_cut or status == 0 else _failure(status, outcome)
        return Attempt(after, cut, trace, failure, time.monotonic() - begin, was_cut)

    def _ask(self, order: dict[str, Any], limit: float | None) -> int | None:
        """The exit status of what was ordered; None where it took longer than the limit."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, as the answer will tell
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        if limit is not None and not select.select([process.stdout], [], [], limit)[0]:
            return None
        return int(self._answer()["status"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text().strip().splitlines() or ["It said nothing."]
            raise RunError("the process that starts a drill's runs has ended", hint=said[-1])
        answer: dict[str, Any] = json.loads(line)
        return answer


def _folders(copy: Copy) -> dict[str, str]:
    """What a killed process leaves in its temporary folder is removed with the drill's."""
    temporary = copy.folder.parent.parent / "t"
    temporary.mkdir(exist_ok=True)
    return {"TORCH_LAB_ARTIFACTS": str(copy.artifacts), "TMPDIR": str(temporary)}


def _failure(status: int | None, outcome: Path) -> Failure:
    if outcome.exists():
        return Failure(**json.loads(outcome.read_text()))
    if status is None:
        return Failure(text := "it did not come to an end", text)
    how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
    return Failure(text := f"its process ended {how}", text)


def environment_differs() -> bool:
    """Whether Python's hashes differ from process to process, as they do by default."""
    return os.environ.get("PYTHONHASHSEED", "random") == "random"
