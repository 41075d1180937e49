"""A project written for torch-lab 1.x, and the real commands in it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from helpers import Project, StoredRun, environment
from zygote import Zygote

SOURCE = Path(__file__).parents[1] / "projects" / "compat"
WAVES = "waves/experiments/00_waves"
PAIRS = "waves/experiments/01_pairs"


@dataclass(frozen=True)
class Old(Project):
    """A copy of the project, its data prepared."""

    zygote: Zygote

    def do(self, *words: str | Path, status: int = 0) -> str:
        """Run a command; returns what it printed."""
        log = self.root / "log.txt"
        log.unlink(missing_ok=True)
        self.zygote.run(*words, cwd=self.root, log=log, status=status)
        return log.read_text()

    def train(self, script: str, *sets: str, status: int = 0) -> tuple[StoredRun, str]:
        """Train; returns the new run and what was printed."""
        before = set(self.runs())
        said = self.do("train", script, *(w for each in sets for w in ("-s", each)), status=status)
        (new,) = set(self.runs()) - before
        return self.run(new), said

    def line(self, file: str, text: str) -> str:
        """FILE:LINE of the first line of a file that holds `text`."""
        lines = (self.root / file).read_text().splitlines()
        return f"{file}:{next(n for n, each in enumerate(lines, 1) if text in each)}"

    def python(self, *words: str) -> str:
        """Run a script of the project's own."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@dataclass(frozen=True)
class Trained:
    """The runs of both experiments, every batch's checkpoint kept, and what was printed."""

    waves: StoredRun
    pairs: StoredRun
    said: dict[str, str]
