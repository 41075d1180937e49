"""SIGKILL within the hooks around epoch ends, validations, tests and saves, one after another."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from exact_runs import SCENARIOS, Trial, outcome

from zygote import Zygote

# Where the process kills itself: a hook, at its first call after so many optimizer steps. Each
# start of the run comes to the next of them.
MOMENTS = (
    "validate.setup:0",
    "validate.on_validation_batch_end:0",  # of the baseline
    "fit.setup:0",
    "fit.on_train_start:0",
    "fit.on_train_epoch_start:0",
    "fit.on_train_batch_start:0",
    "fit.on_before_optimizer_step:1",
    "fit.on_save_checkpoint:1",
    "fit.on_validation_start:2",
    "fit.on_validation_batch_end:2",
    "fit.on_validation_epoch_end:3",
    "fit.on_validation_end:3",
    "fit.on_train_epoch_end:3",
    "fit.on_train_batch_end:3",
    "fit.on_train_epoch_start:3",
    "fit.on_train_batch_start:4",
    "fit.on_validation_start:5",
    "fit.on_validation_end:5",
    "fit.on_train_epoch_end:5",
    "fit.on_save_checkpoint:6",
)
# The two that have it all come to each of them, the two plain ones share them out.
SHARES = {
    "plateau": slice(0, None, 2),
    "workers": slice(1, None, 2),
    "accumulation": slice(None),
    "early stopping": slice(None),
}
AT_THE_END = ("fit.on_train_end:6", "fit.teardown:6")
IN_THE_TEST = ("test.setup:6", "test.on_test_batch_end:6", "test.teardown:6")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_in_each_hook(tmp_path: Path, zygote: Zygote, scenario: str) -> None:
    changes = SCENARIOS[scenario]
    expected = outcome(Trial(tmp_path / "whole", zygote, changes).finish())
    cut = Trial(tmp_path / "cut", zygote, changes)
    last = IN_THE_TEST if "tests=True" in changes else ()
    for moment in (*MOMENTS[SHARES[scenario]], *AT_THE_END, *last):
        status = cut.ended(cut.start(EXACT_DIES=moment))
        assert status == -signal.SIGKILL, f"{moment}\n{cut.said()}"
    assert outcome(cut.finish()) == expected, cut.said()
