"""A loader worker raises, is killed, exits or hangs: said, nothing left, resumed exactly."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from exact_runs import Outcome, Trial, members, outcome

from helpers import wait_for
from torch_lab.data import DataLoader
from zygote import Zygote

pytestmark = pytest.mark.slow
WORKERS = "num_workers=2"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Outcome:
    """What the run comes to that has no fault; it has no workers, either."""
    return outcome(Trial(tmp_path_factory.mktemp("whole") / "whole", zygote, []).finish())


@pytest.mark.parametrize(
    ("fault", "changes", "said"),
    [
        ("raises", [], r"ValueError: a bad sample\nwhile loading sample 40 of Data\nin training, "),
        (
            "raises",
            [WORKERS],
            r"Caught ValueError in DataLoader worker process \d.\nOriginal Traceback[^$]*"
            r"ValueError: a bad sample\nwhile loading sample 40 of Data\nin training, epoch ",
        ),
        (
            "SIGKILL",
            [WORKERS],
            r"error: loader worker \d+ was killed by SIGKILL\nThe system does that where memory "
            r"runs out: try fewer num_workers, .*\nin training, epoch [23], batch \d\n",
        ),
        (
            "SIGBUS",
            [WORKERS, "persistent=True"],
            r"error: loader worker \d+ was killed by SIGBUS\nOften shared memory is full \(df -h "
            r"/dev/shm\): try fewer num_workers.\nin training, epoch [23], batch \d\n",
        ),
        (
            "exits",
            [WORKERS],
            r"error: loader worker \d+ exited with status 3\nWith num_workers=0 the error itself "
            r"would show.\nin training, epoch [23], batch \d\n",
        ),
        (
            "hangs",
            [WORKERS, "timeout=1.0"],
            r"error: no batch came from the loader's workers within 1 s\nThey hang, or are slower "
            r"than the loader's timeout allows. .*\nin training, epoch [23], batch \d\n",
        ),
    ],
    ids=["raises", "raises in a worker", "killed", "bus error", "exits", "hangs"],
)
def test_a_fault_where_a_sample_is_loaded(
    tmp_path: Path, zygote: Zygote, expected: Outcome, fault: str, changes: list[str], said: str
) -> None:
    trial = Trial(tmp_path / "project", zygote, changes)
    pid = trial.start(EXACT_FAULT=f"{fault}:6")
    assert zygote.wait(pid) == 1, trial.said()
    wait_for(lambda: not members(pid))
    assert re.search(said, trial.said()), trial.said()
    record = trial.run().record
    assert record["status"] == "failed"
    kind, _, words = record["reason"].partition(" (in ")[0].partition("\n")[0].partition(": ")
    assert kind == ("ValueError" if fault == "raises" else "WorkerFailed")
    assert words in trial.said()
    assert record["progress"]["batch"] >= 6
    assert outcome(trial.finish()) == expected, trial.said()


def is_stuck(trial: Trial) -> bool:
    """Whether the batches before the one with the sample that hangs are trained on and saved."""
    loader = DataLoader(range(72), batch_size=16, shuffle=True, seed=3)
    before = []
    for epoch in (1, 2):
        loader.set_epoch(epoch)
        batches = loader.epoch_batches()
        before.append(5 * epoch + next(i for i, each in enumerate(batches) if 40 in each))
    return trial.run().record["progress"]["batch"] in before


def test_a_worker_that_hangs_does_not_keep_a_run_from_being_ended(
    tmp_path: Path, zygote: Zygote, expected: Outcome
) -> None:
    trial = Trial(tmp_path / "project", zygote, [WORKERS])
    pid = trial.start(EXACT_FAULT="hangs:6", TORCH_LAB_GRACE_PERIOD="1")
    wait_for(lambda: (trial.project.root / "hanging").exists() and is_stuck(trial))
    os.kill(pid, signal.SIGTERM)
    assert zygote.wait(pid) == 1, trial.said()
    wait_for(lambda: not members(pid))
    assert "_try_get_data" in trial.run().console  # the stacks: where it waited
    assert outcome(trial.finish()) == expected, trial.said()
