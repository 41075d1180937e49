"""A sweep whose process is killed, again and again, and a second one that takes its trials over."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e import sweeping
from e2e.sweeping import SEARCH, STUDY
from e2e.tiny_project import Lab
from forked_starters import FORKED
from helpers import wait_for

ASKS = '"config.width": trial.suggest_int("width", 2, 8), "pause": 0.01'
# When the sweep is killed: a few lines after it began, and so amid what it proposes, takes over
# and hands out; when a run has just begun to train; when one has just ended.
KILLS = ["writing"] * 12 + ["training"] * 4 + ["ended"] * 4
AHEAD = 4  # trials that each start has to do
REAL = 5  # each fifth start imports what its trials need, and so may be killed amid that
PATIENCE = 300.0  # seconds, for a machine that does other things


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_that_is_killed_twenty_times(tmp_path, zygote):
    """Whenever it is, also amid what it writes: no trial is lost, and none is done twice."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, ASKS, metric="loss/train")
    moments = random.Random(7)
    for number, kind in enumerate(moments.sample(KILLS, len(KILLS))):
        env = FORKED if number % REAL else {}
        while not _is_killed(lab, kind, moments, env):
            pass  # it was over before it could be
    trials = str(len(sweeping.trials(lab)))
    done = lab.do("lab", "sweep", SEARCH, "-j", "2", "--trials", trials, env=FORKED)
    assert done.status == 0, done.out + done.err
    assert len(sweeping.check(lab, int(trials))) > KILLS.count("ended")
    wait_for(lambda: not _left(lab), timeout=PATIENCE)


def test_a_second_process_takes_over_from_one_that_is_killed(tmp_path, zygote):
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, ASKS.replace("0.01", "0.05"), metric="loss/train", trials=5)
    first = lab.start_one("lab", "sweep", SEARCH, "-j", "2")
    begun = lambda: [r for r in sweeping.runs(lab) if r["checkpoints"]]  # noqa: E731
    wait_for(lambda: len(begun()) >= 2, timeout=PATIENCE)
    second = lab.start_one("lab", "sweep", SEARCH, "-j", "1", env=FORKED)
    words = lambda: second.out.read_text() if second.out.exists() else ""  # noqa: E731
    wait_for(lambda: "begins" in words(), timeout=PATIENCE)
    os.kill(first.pid, signal.SIGKILL)
    lab.ended(first)
    ended = lab.ended(second)
    assert ended.status == 0, ended.out + ended.err
    sweeping.check(lab, 5)
    wait_for(lambda: not _left(lab), timeout=PATIENCE)


def _is_killed(lab: Lab, kind: str, moments: random.Random, env: dict[str, str]) -> bool:
    """Start the sweep, with something left to do, and kill it at a moment of that kind."""
    trials = len(_runs_that_are(lab, "completed")) + AHEAD
    reached = _moment(lab, kind, moments.randrange(9))
    words = ("lab", "sweep", SEARCH, "-j", "2", "--trials", str(trials))
    started = lab.start_one(*words, env=env)
    wait_for(lambda: reached() or _is_over(started.pid), timeout=PATIENCE, every=0.005)
    time.sleep(moments.random() / 10)
    os.kill(started.pid, signal.SIGKILL)
    return lab.ended(started).status == -signal.SIGKILL


def _moment(lab: Lab, kind: str, more: int) -> Callable[[], bool]:
    """Whether it is time to kill the sweep that is started next."""
    if kind == "writing":
        journal = lab.artifacts / ".sweeps" / f"{STUDY}.journal"
        lines = _lines(journal) + more
        return lambda: _lines(journal) >= lines
    status = {"training": "running", "ended": "completed"}[kind]
    before = _runs_that_are(lab, status)
    return lambda: bool(_runs_that_are(lab, status) - before)


def _runs_that_are(lab: Lab, status: str) -> set[tuple[str, int]]:
    """With how many times each was begun or gone on with."""
    names = [run["name"] for run in sweeping.runs(lab) if run["status"] == status]
    return {(name, len(list((lab.artifacts / name / "metrics").iterdir()))) for name in names}


def _is_over(pid: int) -> bool:
    """Whether a process has ended, though nobody has waited for it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _left(lab: Lab) -> list[str]:
    """Processes that still work in the project."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == lab.root:
                found.append(entry.name)
        except OSError:
            continue
    return found
