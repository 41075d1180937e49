"""Who writes to a run: one process, whatever others are told, stopped for and woken up from."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from commands import RUN, SCRIPT, Commands, assert_as_whole

from helpers import StoredRun, wait_for

BESIDE = {"TORCH_LAB_TENSORBOARD": "true", "TORCH_LAB_MACHINE_USE_SECONDS": "0.2"}


@pytest.mark.parametrize("host", ["", "elsewhere"], ids=["here", "elsewhere"])
def test_a_run_that_lives_is_not_taken(commands: Commands, host: str) -> None:
    first = commands.start("train", SCRIPT, "-s", "pause=0.02", host=host)
    commands.saved(3)
    said = commands.ended(commands.start("train", "--resume", RUN), 2)
    assert f"error: run {RUN} is alive: process {first} on " in said
    assert said.endswith("Wait for it, or stop it first.\n")
    if not host:  # of what is elsewhere only its silence tells
        os.kill(first, signal.SIGSTOP)
        said = commands.ended(commands.start("train", "--resume", RUN), 2)
        assert f"{RUN} is alive: process {first} on " in said
        assert "has it, and is suspended\nLet it go on (kill -CONT " in said
        os.kill(first, signal.SIGCONT)
    commands.ended(first, 0)
    assert commands.run.record["resumes"] == []


def test_of_two_that_resume_at_once_one_does(commands: Commands, whole: StoredRun) -> None:
    first = commands.start("train", SCRIPT, "-s", "pause=0.01")
    commands.saved(3)
    os.killpg(first, signal.SIGKILL)
    commands.ended(first, -signal.SIGKILL)
    both = [commands.start("train", "--resume", RUN) for _ in range(2)]
    statuses = {pid: commands.zygote.wait(pid) for pid in both}
    said = {statuses[pid]: commands.said(pid) for pid in both}
    commands.under_way.clear()
    # The second may have come when the first had ended.
    assert sorted(said) == [0, 2], said
    assert "is alive: " in said[2] or "is completed: there is nothing to resume" in said[2]
    assert len(commands.run.record["resumes"]) == 1
    assert_as_whole(commands.run, whole)


@pytest.mark.parametrize("when", ["later", "at once"])
def test_one_that_wakes_up_after_a_take_over_writes_nothing(
    commands: Commands, whole: StoredRun, when: str
) -> None:
    words = ("train", SCRIPT, "-s", "pause=0.02")
    first = commands.start(*words, host="elsewhere", **(BESIDE if when == "later" else {}))
    commands.saved(4)
    os.kill(first, signal.SIGSTOP)
    second = commands.start("train", "--resume", RUN)
    if when == "later":
        commands.ended(second, 0)
        before = commands.files()
    else:
        wait_for((commands.run.path / "metrics" / "0001.jsonl").exists)
    os.kill(first, signal.SIGCONT)
    said = commands.ended(first, 1)
    assert f"error: run {RUN} isn't this process's any more: " in said
    assert "stops without writing.\n" in said
    assert "Traceback" not in said
    assert "--resume" not in said
    if when == "later":
        assert commands.files() == before
        assert "its lock is gone" in said
    else:
        # The second may have ended by then.
        assert f"process {second} on " in said or "its lock is gone" in said
        commands.ended(second, 0)
    assert_as_whole(commands.run, whole)


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("write", r"/\.step-5"),
        ("fsync", r"/checkpoints$"),
        ("fsync", r"/\.run\.json"),
    ],
    ids=["draft", "folder", "record"],
)
def test_one_that_is_stopped_in_a_save(
    commands: Commands, whole: StoredRun, call: str, path: str
) -> None:
    nth = 1 if "step-5" in path else 6
    fault = {"call": call, "path": path, "nth": nth, "times": 1, "do": "stop"}
    first = commands.start("train", SCRIPT, host="elsewhere", faults=[fault])
    wait_for(lambda: _is_stopped(first))
    commands.ended(commands.start("train", "--resume", RUN), 0)
    before = commands.files()
    os.kill(first, signal.SIGCONT)
    said = commands.ended(first, 1)
    assert f"error: run {RUN} isn't this process's any more: its lock is gone" in said
    assert said.count("isn't this process's") == 1
    assert "Errno" not in said  # of what the other has deleted since
    assert commands.files() == before
    assert_as_whole(commands.run, whole)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
