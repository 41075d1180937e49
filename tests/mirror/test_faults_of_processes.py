"""SIGKILL of trainings, of their sender, of both, at random moments: all is sent, and once."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import Started
from helpers import StoredRun, wait_for
from mirror import talkative
from mirror.agreement import agree
from mirror.mirrored_lab import MirroredLab, mirrored
from mirror.talkative import SCRIPT
from zygote import Zygote

KILLS = int(os.environ.get("TORCH_LAB_TEST_KILLS", "20"))
AT_ONCE = 3  # trainings
PAUSE = 0.25  # seconds a step: a training takes some
CHANGES = [
    *("projects.create", "tasks.create", "tasks.started", "events.add_batch", "files.POST"),
    *("tasks.edit", "models.create", "models.add_or_update_metadata", "tasks.completed"),
]
# Most of a sender's life is then spent between what the server has done and its being known.
LATE = {"kind": "slow", "seconds": 0.05, "done": True}


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[MirroredLab]:
    with mirrored(tmp_path / "lab", zygote, clearml_server.environment) as made:
        talkative.add_to(made)
        yield made


@dataclass
class Trials:
    """Trainings under way, killed as chance has it and resumed or left."""

    lab: MirroredLab
    chance: random.Random
    going: list[Started] = field(default_factory=list)
    kills: int = 0

    def keep_going(self) -> None:
        """Have so many trainings under way; one that was killed goes on, or is left as it is."""
        for training in list(self.going):
            if not _lives(training):
                self._end(training)
        while len(self.going) < AT_ONCE:
            self.going.append(self.lab.start_one("train", SCRIPT, "-s", f"pause={PAUSE}"))

    def kill(self) -> None:
        """Kill a training, the sender, or both."""
        whom = self.chance.choice(["training", "sender", "both"])
        if whom != "sender":
            self._kill_group(self.chance.choice(self.going))
        if whom != "training":
            for sender in self.lab.senders():
                self._kill(sender)

    def leave_one(self) -> None:
        """Kill a training that has begun for certain, and leave it as it is."""
        slow = 4 * PAUSE
        training = self.lab.start_one("train", SCRIPT, "-s", f"pause={slow}")
        wait_for(
            lambda: any(
                run.record["status"] == "running"
                and run.record["hparams"]["config"]["pause"] == slow
                for run in runs(self.lab)
            )
        )
        self._kill_group(training)
        self.lab.ended(training)

    def finish(self) -> None:
        """Let what is under way come to its end."""
        for training in self.going:
            self.lab.ended(training)

    def _end(self, training: Started) -> None:
        self.going.remove(training)
        outcome = self.lab.ended(training)
        assert outcome.status in (0, -signal.SIGKILL), outcome
        name = re.search(r"^run (\S+) ", outcome.out, re.MULTILINE)
        if not outcome.status or not name or self.chance.random() < 0.4:
            return
        if self.lab.run(name[1]).record["status"] != "completed":  # else it only waited
            self.going.append(self.lab.start_one("train", "--resume", name[1]))

    def _kill_group(self, training: Started) -> None:
        with suppress(ProcessLookupError):
            os.killpg(training.pid, signal.SIGKILL)
            self.kills += 1

    def _kill(self, process: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            self.kills += 1


def _lives(training: Started) -> bool:
    """Whether a process of the tests' zygote, which has not been asked for its status, runs."""
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{training.pid}/stat").read_text()
    return False


def runs(lab: MirroredLab) -> list[StoredRun]:
    """What there is of runs; one that was killed at its very beginning is none."""
    return [lab.run(name) for name in lab.begun()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments(lab: MirroredLab, clearml_server: ClearMLServer) -> None:
    lab.done("train", SCRIPT, "-o")
    weights = lab.run(lab.runs()[0]).weights()
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    trials = Trials(lab, random.Random(seed))
    clearml_server.fault(**LATE)
    while trials.kills < KILLS:
        trials.keep_going()
        time.sleep(trials.chance.uniform(0, 2))
        trials.kill()
    trials.leave_one()
    trials.finish()
    lab.end_senders()
    clearml_server.heal()

    found = runs(lab)
    print(lab.done("lab", "sync").out)
    agree(clearml_server, found, lab.root / "sdk")
    states = [run.record["status"] for run in found]
    print(f"{trials.kills} kills, {states}")
    completed = [run for run in found if run.record["status"] == "completed"]
    assert {run.weights() for run in completed} == {weights}
    assert len(completed) < len(found), "nothing was left killed"


@pytest.mark.slow
def test_killed_after_each_change_before_it_is_known(
    lab: MirroredLab, clearml_server: ClearMLServer
) -> None:
    lab.done("train", SCRIPT, "-o")
    for change in CHANGES:
        clearml_server.fault("hang", endpoints=[change], done=True)
        sync = lab.start_one("lab", "sync")
        wait_for(lambda at=sync: clearml_server.hanging() or not _lives(at))
        assert _lives(sync), f"ended without {change}: {lab.ended(sync)}"
        os.killpg(sync.pid, signal.SIGKILL)
        lab.ended(sync)
        clearml_server.heal()
    lab.done("lab", "sync")
    agree(clearml_server, runs(lab), lab.root / "sdk")


def test_two_at_once_do_no_harm(lab: MirroredLab, clearml_server: ClearMLServer) -> None:
    for _ in range(2):
        lab.done("train", SCRIPT, "-o")
    both = [lab.start_one("lab", "sync") for _ in range(2)]
    outcomes = [lab.ended(each) for each in both]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    agree(clearml_server, runs(lab), lab.root / "sdk")
