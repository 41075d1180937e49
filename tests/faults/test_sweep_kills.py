"""A sweep whose process is killed, again and again, and a second one that takes its trials over."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from e2e import sweeping
from e2e.sweeping import SEARCH, STUDY
from e2e.tiny_project import Lab
from helpers import wait_for

ASKS = '"config.width": trial.suggest_int("width", 2, 8), "pause": 0.01'
KILLS = 20
TRIALS = 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_that_is_killed_twenty_times(tmp_path, zygote):
    """Whenever it is, also amid what it writes: no trial is lost, and none is done twice."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, ASKS, metric="loss/train", trials=TRIALS)
    moments = random.Random(7)
    for _ in range(KILLS):
        started = lab.start_one("lab", "sweep", SEARCH, "-j", "2")
        _wait_for_lines(lab, moments.randrange(14))
        time.sleep(moments.random() / 4)
        os.kill(started.pid, signal.SIGKILL)
        lab.ended(started)
    done = lab.do("lab", "sweep", SEARCH, "-j", "2")
    assert done.status == 0, done.out + done.err
    sweeping.check(lab, TRIALS)
    wait_for(lambda: not _left(lab))


def test_a_second_process_takes_over_from_one_that_is_killed(tmp_path, zygote):
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, ASKS.replace("0.01", "0.05"), metric="loss/train", trials=5)
    first = lab.start_one("lab", "sweep", SEARCH, "-j", "2")
    wait_for(lambda: len([r for r in sweeping.runs(lab) if r["checkpoints"]]) >= 2)
    second = lab.start_one("lab", "sweep", SEARCH, "-j", "1")
    wait_for(lambda: second.out.exists() and "begins" in second.out.read_text())
    os.kill(first.pid, signal.SIGKILL)
    lab.ended(first)
    ended = lab.ended(second)
    assert ended.status == 0, ended.out + ended.err
    sweeping.check(lab, 5)
    wait_for(lambda: not _left(lab))


def _wait_for_lines(lab: Lab, more: int) -> None:
    """Wait until the sweep has written so much, or has nothing to write any more."""
    journal = lab.artifacts / ".sweeps" / f"{STUDY}.journal"
    before, end = _lines(journal), time.monotonic() + 20
    while _lines(journal) < before + more and time.monotonic() < end:
        time.sleep(0.005)


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
