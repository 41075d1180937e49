"""SIGKILL at random instants, once or again: the run ends as if it had never been killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from exact_runs import SCENARIOS, Trial, kill_group, outcome

from zygote import Zygote

KILLS = int(os.environ.get("TORCH_LAB_TEST_KILLS", "30"))
PAUSE = "pause=0.002"  # for each sample: so that training takes longer than setting it up


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_random_instants(tmp_path: Path, zygote: Zygote, scenario: str) -> None:
    changes = [*SCENARIOS[scenario], PAUSE]
    whole = Trial(tmp_path / "whole", zygote, changes)
    begin = time.monotonic()
    expected = outcome(whole.finish())
    length = time.monotonic() - begin

    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, a whole run takes {length:.2f} s")
    chance = random.Random(seed)
    kills = trial = 0
    while kills < -(-KILLS // len(SCENARIOS)):
        cut = Trial(tmp_path / f"cut{trial}", zygote, changes)
        for _ in range(chance.choice([1, 2, 3])):
            kills += _killed(cut, chance.uniform(0, length))
        run = cut.finish()
        where = f"seed {seed}, trial {trial}, {run.path}\n{cut.said()}"
        assert outcome(run) == expected, where
        shutil.rmtree(cut.project.root)
        trial += 1


def _killed(trial: Trial, after: float) -> bool:
    """Kill a start of it after so many seconds; whether it was still running."""
    pid = trial.start()
    time.sleep(after)
    kill_group(pid)
    return trial.ended(pid) == -signal.SIGKILL
