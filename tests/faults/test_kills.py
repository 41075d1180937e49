"""SIGKILL at random instants, once or again: the run ends as if it had never been killed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from helpers import Project, StoredRun
from zygote import Zygote

EXACT = Path(__file__).parent.parent / "projects" / "exact"
SCRIPT = "exact_project/experiments/00_exact/hparams.py"
KILLS = int(os.environ.get("TORCH_LAB_TEST_KILLS", "30"))


class Trial:
    """One project in which a run is killed and resumed until it is completed."""

    def __init__(self, root: Path, zygote: Zygote, workers: int) -> None:
        shutil.copytree(EXACT, root)
        self.project = Project(root)
        self.zygote = zygote
        self.log = root / "log.txt"
        self.words = ["train", SCRIPT, "-s", "pause=0.002", "-s", f"num_workers={workers}"]
        self.resume = ["train", "--resume", "auto", *self.words[1:]]

    def killed(self, after: float, *, resume: bool) -> bool:
        """Kill a start of it after so many seconds; whether it was still running."""
        pid = self.zygote.start(*self._again(resume), cwd=self.project.root, log=self.log)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return self.zygote.wait(pid) == -signal.SIGKILL

    def finish(self) -> StoredRun:
        if not self._completed():
            self.zygote.run(*self._again(True), cwd=self.project.root, log=self.log)
        (name,) = self._completed()
        return self.project.run(name)

    def _again(self, resume: bool) -> list[str]:
        """Resumed by name where there is a run, else begun; `auto` with its arguments is not for
        runs that keep theirs."""
        interrupted = [
            name
            for name in self.project.runs()
            if (self.project.artifacts / name / "run.json").exists()
        ]
        return ["train", "--resume", interrupted[-1]] if resume and interrupted else self.words

    def _completed(self) -> list[str]:
        found = []
        for name in self.project.runs():
            run = self.project.run(name)
            if (run.path / "run.json").exists() and run.record["status"] == "completed":
                found.append(name)
        return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_random_instants(tmp_path: Path, zygote: Zygote, workers: int) -> None:
    whole = Trial(tmp_path / "whole", zygote, workers)
    begin = time.monotonic()
    reference = whole.finish()
    length = time.monotonic() - begin
    weights, rows = reference.weights(), reference.rows()

    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, a whole run takes {length:.2f} s")
    chance = random.Random(seed)
    kills = 0
    trial = 0
    while kills < KILLS // 2:
        cut = Trial(tmp_path / f"cut{trial}", zygote, workers)
        for nested in range(chance.choice([1, 1, 2, 3])):
            kills += cut.killed(chance.uniform(0, length), resume=nested > 0)
        run = cut.finish()
        where = f"seed {seed}, trial {trial}, {run.path}\n{cut.log.read_text()}"
        assert run.weights() == weights, where
        assert run.rows() == rows, where
        assert not list(run.path.rglob("*.tmp")), where
        shutil.rmtree(cut.project.root)
        trial += 1
