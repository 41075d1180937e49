"""Two processes: one run, one record; killed at random and resumed, the same run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from exact_runs import SCENARIOS, Trial, kill_group, members, outcome

from helpers import StoredRun, wait_for
from zygote import Zygote

TWO = ["trainer.init.devices=2", "trainer.init.strategy=ddp"]
KILLS = int(os.environ.get("TORCH_LAB_TEST_KILLS", "30")) // 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_ranks_are_one_run(tmp_path: Path, zygote: Zygote, scenario: str) -> None:
    changes = [*SCENARIOS[scenario], *TWO, "pause=0.005"]
    begin = time.monotonic()
    whole = Trial(tmp_path / "whole", zygote, changes)
    expected = outcome(whole.finish())
    length = time.monotonic() - begin
    _is_one_run(whole.run())

    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    cut = Trial(tmp_path / "cut", zygote, changes)
    for _ in range(KILLS):
        whom, after = chance.choice(["all", "rank 0", "rank 1"]), chance.uniform(0, length)
        if _completes(cut, whom, after):
            break
    assert outcome(cut.finish()) == expected, f"seed {seed}\n{cut.said()}"


def _is_one_run(run: StoredRun) -> None:
    assert len(run.checkpoint()["torch_lab"]["ranks"]) == 2
    assert (run.path / "console.1.log").exists()
    (segment,) = (run.path / "metrics").iterdir()
    assert len(run.rows()) == len(segment.read_text().splitlines()) - 1  # none twice


def _completes(trial: Trial, whom: str, after: float) -> bool:
    """Kill a start of the run, or one of its processes, after so many seconds: all of it ends.

    Whether the run was completed by then.
    """
    pid = trial.start()
    time.sleep(after)
    if whom == "all":
        kill_group(pid)
    elif whom == "rank 0":
        os.kill(pid, signal.SIGKILL)
    else:
        for each in trial.ranks.read_text().split():
            with contextlib.suppress(ProcessLookupError):  # it has come to its end
                os.kill(int(each), signal.SIGKILL)
    status = trial.zygote.wait(pid)
    assert status in (0, 1, -signal.SIGKILL), trial.said()
    wait_for(lambda: not members(pid), timeout=30, every=0.1)
    return trial.completed()
