"""Two processes of which one fails, or is sent a signal: the run ends as if it were one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from exact_runs import Trial, members, outcome

from helpers import wait_for
from zygote import Zygote

TWO = ["trainer.init.devices=2", "trainer.init.strategy=ddp", "num_workers=1"]
BAD = "ValueError: a bad rank"
KILLED = "RankLost: rank 1 was killed by SIGKILL"
EXITED = "RankLost: the process of rank 1 ended by itself, with status 3, before the run was over"
TRAINING, VALIDATION = "fit.on_train_batch_start:4", "fit.on_validation_batch_start:3"
SAVE = "fit.on_save_checkpoint:2"


@pytest.fixture
def two(tmp_path: Path, zygote: Zygote) -> Trial:
    return Trial(tmp_path / "project", zygote, TWO)


def record(trial: Trial) -> dict[str, Any]:
    return trial.run().record


def nobody_is_left(group: int) -> None:
    wait_for(lambda: not members(group), timeout=30, every=0.1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (f"1:{TRAINING}:raises", f"{BAD} (in rank 1)"),
        (f"0:{VALIDATION}:raises", BAD),
        (f"1:{VALIDATION}:SIGKILL", KILLED),
        (f"1:{SAVE}:exits", EXITED),
        ("1:config:0:raises", f"{BAD} (in rank 1)"),
    ],
)
def test_a_rank_that_fails(two: Trial, fault: str, reason: str) -> None:
    pid = two.start(RANK_FAULT=fault)
    status = two.zygote.wait(pid)
    nobody_is_left(pid)
    assert status == 1, two.said()
    found = record(two)
    assert found["status"] == "failed", two.said()
    assert found["reason"].partition("\n")[0] == reason, two.said()
    words = reason.removeprefix("RankLost: ").removesuffix(" (in rank 1)")
    assert two.said().count(f"{words}\n") == 1, two.said()  # not by each rank
    if reason.startswith(BAD):
        assert "/rank_faults.py" in two.said()


def test_rank_0_is_killed(two: Trial) -> None:
    pid = two.start(RANK_FAULT=f"0:{TRAINING}:SIGKILL")
    assert two.zygote.wait(pid) == -signal.SIGKILL
    nobody_is_left(pid)
    assert record(two)["status"] == "running"  # readers call it lost


def test_a_signal_to_any_of_them(tmp_path: Path, zygote: Zygote) -> None:
    """Aborted at one boundary, and resumed from there as if it had not been."""
    whole = outcome(Trial(tmp_path / "whole", zygote, TWO).finish())
    cut = Trial(tmp_path / "cut", zygote, TWO)
    for least, fault, name in [
        (2, "1:fit.on_train_batch_start:1:", "SIGHUP"),
        (4, "0:fit.on_train_batch_end:4:", "SIGTERM"),
        (5, "1:fit.on_validation_batch_start:6:", "SIGINT"),  # a slow one is given up
        (8, "0:fit.on_train_batch_start:7:all ", "SIGINT"),
    ]:
        pid = cut.start(RANK_FAULT=f"{fault}{name}")
        status = cut.zygote.wait(pid)
        nobody_is_left(pid)
        found = record(cut)
        assert status == 128 + signal.Signals[name], cut.said()
        assert (found["status"], found["reason"]) == ("aborted", name)
        # On a busy machine the others may have gone on by a batch or two when they hear of it.
        assert found["progress"]["batch"] >= least, cut.said()
    assert outcome(cut.finish()) == whole, cut.said()
    assert "Traceback" not in cut.said()
