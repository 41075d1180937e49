"""SIGKILL at every call to the file system that a start of a run makes: to the last bit the same.

The start is one that goes on with a run, saves at each batch, at an epoch's end a best one too, and
ends: so the lock's take-over, the tidying, the saves, record, journal and the end are all in it.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from helpers import Project, StoredRun, cut
from store.store_helpers import dead_pid, write_holder
from torch_lab.store.paths import RunDirectory
from zygote import Zygote

EXACT = Path(__file__).parent.parent / "projects" / "exact"
SCRIPT = "exact_project/experiments/00_exact/hparams.py"
FAULTS = Path(__file__).parent / "file_faults.py"
SETS = ("trainer.init.max_epochs=2", "checkpoint.keep=None")
BEFORE = 8  # of ten batches: two saves are to come, the second at an epoch's end
NUMBERS = re.compile(r"(?<=step-)\d+|(?<=\.)[0-9a-f]{12}(?=\.tmp)|\d+(?=\.tmp)|_v\d+")


class Trial:
    """A whole run, and a copy of it that was cut before its end: killed, and killed again."""

    def __init__(self, root: Path, zygote: Zygote) -> None:
        shutil.copytree(EXACT, root)
        self.project = Project(root)
        self.zygote = zygote
        self.log = root / "log.txt"
        self._keep(100)
        words = [word for text in SETS for word in ("-s", text)]
        zygote.run("train", SCRIPT, *words, cwd=root, log=self.log)
        self._keep(2)
        self.whole = self.project.run("00_exact-hparams_v0")
        self.weights, self.rows = self.whole.weights(), self.whole.rows()
        self.deaths: list[str] = []
        self.run = self.copy()

    def _keep(self, count: int) -> None:
        text = (EXACT / "pyproject.toml").read_text()
        setting = f"\n[tool.torch-lab]\nkeep-checkpoints = {count}\n"
        self.project.write("pyproject.toml", text + setting)

    def copy(self) -> StoredRun:
        """The run as a process left it that was killed; its lock still says so."""
        path = self.project.artifacts / "00_exact-hparams_v1"
        shutil.rmtree(path, ignore_errors=True)
        made = cut(self.whole, BEFORE, path)
        write_holder(RunDirectory(path), pid=dead_pid())
        self.deaths = []
        return made

    def calls(self) -> list[tuple[str, str, int]]:
        """Every kind of call, its path as an expression; the first and the last of each."""
        seen = self.project.root / "seen.txt"
        assert self.goes_on(do="note", seen=str(seen)) == 0
        self.run = self.copy()
        counts: dict[tuple[str, str], int] = {}
        for line in seen.read_text().splitlines():
            call, _, path = line.partition(" ")
            parts = map(re.escape, NUMBERS.split(path))
            key = call, "^" + "[0-9a-f_v]+".join(parts) + "$"
            counts[key] = counts.get(key, 0) + 1
        return [(*key, nth) for key, count in counts.items() for nth in sorted({1, count})]

    def goes_on(self, **fault: object) -> int:
        """Go on with the run under a fault; returns the exit status."""
        words = (json.dumps([fault]), "train", "--resume", self.run.path)
        pid = self.zygote.start_script(FAULTS, *words, cwd=self.project.root, log=self.log)
        return self.zygote.wait(pid)

    def dies(self, **fault: object) -> bool:
        """Kill the run so; in a fresh copy where it has come too far for that call."""
        for _ in range(2):
            fresh = not self.deaths
            self.deaths.append(" ".join(map(str, fault.values())))
            status = self.goes_on(**fault)
            if self.run.record["status"] == "completed":  # or killed in its very last calls
                self.finish()
            if status == -signal.SIGKILL:
                return True
            assert status == 0, self.log.read_text()
            if fresh:
                break
        return False

    def finish(self) -> None:
        """See that the run has ended as the whole one, and take a fresh copy."""
        if self.run.record["status"] != "completed":
            self.zygote.run("train", "--resume", self.run.path, cwd=self.project.root, log=self.log)
        where = "\n".join([*self.deaths, str(self.run.path), self.log.read_text()])
        assert self.run.weights() == self.weights, where
        assert self.run.rows() == self.rows, where
        assert self.run.record["status"] == "completed", where
        left = [path.name for path in self.run.path.rglob("*") if path.is_file()]
        assert not [name for name in left if name.endswith(".tmp") or ".probe-" in name], where
        self.run = self.copy()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_every_call(tmp_path: Path, zygote: Zygote) -> None:
    trial = Trial(tmp_path / "project", zygote)
    calls = trial.calls()
    kinds = {call for call, _, _ in calls}
    assert kinds >= {"open", "write", "fsync", "replace", "link", "unlink", "mkdir"}
    deaths = [{"call": call, "path": path, "nth": nth} for call, path, nth in calls]
    halves = [each | {"do": "half"} for each in deaths if each["call"] == "write"]
    struck = [trial.dies(**each) for each in [{"do": "kill"} | each for each in deaths] + halves]
    trial.finish()
    # What a thread does comes in another order the next time: a few may miss.
    assert sum(struck) > 0.8 * len(struck)
    assert sum(struck) > 60
