"""Runs of tests/projects/exact that are cut, resumed and compared with one that never was."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked_ranks
from helpers import Project, StoredRun, digest
from zygote import Zygote

EXACT = Path(__file__).parents[1] / "projects" / "exact"
SCRIPT = "exact_project/experiments/00_exact/hparams.py"
# Fifteen batches and at most three epochs each; saved at each epoch's end at least.
SCENARIOS = {
    "plateau": ["scheduler=plateau"],
    "workers": ["scheduler=plateau", "num_workers=2", "tests=True"],
    "accumulation": [
        *("scheduler=step", "trainer.init.accumulate_grad_batches=2", "ema=True"),
        *("trainer.init.val_check_interval=2", "checkpoint.every_n_steps=2"),
    ],
    "early stopping": [
        *("scheduler=epoch", "ema=True", "tests=True", "checkpoint.every_n_steps=100"),
        *("num_workers=1", "persistent=True", 'stopping={"patience": 1, "min_delta": 10.0}'),
    ],
}


@dataclass(frozen=True)
class Outcome:
    """All that a run leaves behind: its journal, and every state in its last checkpoint."""

    rows: list[tuple[int, int, int, dict[str, float]]]
    weights: str
    states: str


def outcome(run: StoredRun) -> Outcome:
    """What has to be the same, to the last bit, however often the run was cut."""
    contents = run.checkpoint()
    contents["loops"].pop("validate_loop")  # how the baseline went; a resumed run has none
    contents["loops"]["fit_loop"]["state_dict"].pop("combined_loader")  # a place past the end
    return Outcome(run.rows(), run.weights(), digest(contents))


class Trial:
    """A project in which one run is cut and resumed until it is completed."""

    def __init__(self, root: Path, zygote: Zygote, changes: list[str]) -> None:
        shutil.copytree(EXACT, root, ignore=shutil.ignore_patterns("__pycache__"))
        self.project = Project(root)
        self.zygote = zygote
        self.log = root / "log.txt"
        self.ranks = root / "ranks.txt"  # the processes of ranks that rank 0 has started
        self.begin = ["train", SCRIPT, *(word for each in changes for word in ("-s", each))]

    def start(self, **env: str) -> int:
        """Begin the run, or resume it where there is one; returns the process and group id."""
        begun = self.project.begun()
        words = ["train", "--resume", begun[-1]] if begun else self.begin
        if any("trainer.init.devices=" in word for word in self.begin):
            self.ranks.write_text("")
            env[forked_ranks.WANTED] = str(self.ranks)
        return self.zygote.start(*words, cwd=self.project.root, log=self.log, env=env)

    def ended(self, pid: int) -> int:
        """The exit status; what a killed process leaves of workers is ended, too."""
        status = self.zygote.wait(pid)
        kill_group(pid)
        return status

    def run(self) -> StoredRun:
        """The run."""
        (name,) = self.project.begun()
        return self.project.run(name)

    def finish(self) -> StoredRun:
        """Go on to the end, if that isn't reached, and leave nothing behind but the run.

        A start that was killed between the record's last word and the lock's removal has reached
        it; its lock names a dead process and keeps nobody out.
        """
        was_completed = self.completed()
        if not was_completed:
            status = self.ended(self.start())
            assert status == 0, self.said()
        run = self.run()
        assert run.record["status"] == "completed", self.said()
        assert not list(run.path.rglob("*.tmp")), self.said()
        assert was_completed or not (run.path / "lock").exists(), self.said()
        return run

    def said(self) -> str:
        """What all the starts have printed."""
        return self.log.read_text()

    def completed(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.project.begun()) and self.run().record["status"] == "completed"


def members(group: int) -> list[str]:
    """What still lives in a process group."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True)
    lines = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [" ".join(line) for line in lines if line[0] == str(group) and line[1][0] != "Z"]


def kill_group(group: int) -> None:
    """SIGKILL for a process and all that it has started; it may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def checkpoint_files(run: StoredRun) -> list[Path]:
    """The run's own checkpoints, the oldest first."""
    files: Any = (run.path / "checkpoints").glob("step-*.ckpt")
    return sorted(files, key=lambda path: int(path.stem.removeprefix("step-")))
