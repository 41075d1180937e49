"""The project tests/projects/tiny, and real commands in it."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers import Project, StoredRun
from zygote import Zygote

TINY = Path(__file__).parents[1] / "projects" / "tiny"
EXPERIMENT = "tiny/experiments/00_tiny"
HPARAMS = f"{EXPERIMENT}/hparams.py"
MAIN = f"{EXPERIMENT}/__main__.py"
RUN = "00_tiny-hparams_v0"
HOLDS = """

def hold(callback, trainer, module):
    while trainer.global_step >= 4 and not Path({file!r}).exists():
        time.sleep(0.01)


Faulty.on_after_backward = hold
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Started:
    """A command under way."""

    pid: int
    out: Path
    err: Path


@dataclass(frozen=True)
class Lab(Project):
    """A copy of the tiny project; commands run in processes that needn't import torch again."""

    zygote: Zygote

    @classmethod
    def copied(cls, root: Path, zygote: Zygote) -> Lab:
        shutil.copytree(TINY, root, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(root, zygote)

    def start_one(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Started:
        """Start a command; `ended` waits for it."""
        said = self.root / "said" / uuid.uuid4().hex
        said.mkdir(parents=True)
        out, err = said / "out", said / "err"
        pid = self.zygote.start(*words, cwd=self.root, log=out, errors=err, env=env)
        return Started(pid, out, err)

    def ended(self, started: Started) -> Outcome:
        status = self.zygote.wait(started.pid)
        return Outcome(status, started.out.read_text(), started.err.read_text())

    def do(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Outcome:
        return self.ended(self.start_one(*words, env=env))

    def train(self, *sets: str, env: Mapping[str, str] | None = None) -> Outcome:
        """`train hparams.py -s …`."""
        return self.do("train", HPARAMS, *_options("-s", sets), env=env)

    def infer(self, checkpoint: str | Path, *sets: str) -> Outcome:
        """`infer hparams.py --checkpoint … --set …`."""
        words = ["--checkpoint", str(checkpoint), *_options("--set", sets)]
        return self.do("infer", HPARAMS, *words)

    def append(self, text: str) -> int:
        """Add to the configuration script; returns the number of the first line added."""
        path = self.root / MAIN
        lines = path.read_text().count("\n")
        self.write(MAIN, f"{path.read_text()}{text}")
        return lines + 1

    def hold(self) -> Path:
        """Let trainings wait in their fifth batch until there is the file that is returned.

        A signal that is sent before it is made finds them in the midst, however slow the test is.
        """
        go = self.root / "go on"
        self.append(HOLDS.format(file=str(go)))
        return go

    def newest(self) -> StoredRun:
        return self.run(max(self.runs(), key=lambda name: int(name.rpartition("_v")[2])))

    def left_alive(self) -> list[str]:
        """What looks as if somebody was still working on it: nothing, after a command has ended."""
        if not self.artifacts.is_dir():
            return []
        found = [str(path) for path in self.artifacts.rglob("*") if _is_passing(path.name)]
        records = self.artifacts.glob("*/run.json")
        states = {path: json.loads(path.read_text())["status"] for path in records}
        found += [str(path) for path, state in states.items() if state in ("starting", "running")]
        claimed = (path for path in self.artifacts.iterdir() if path.name != ".counters")
        return found + [str(path) for path in claimed if not (path / "run.json").exists()]


def _is_passing(name: str) -> bool:
    return name.endswith(".tmp") or name.startswith("lock")


def _options(name: str, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (name, value)]
