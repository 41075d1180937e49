"""Faults that the environment asks for: a resumed run has the same hyperparameters, and none.

EXACT_DIES=fit.on_validation_end:7    the process kills itself there, after seven optimizer steps
EXACT_FAULT=raises:6                  loading sample 40 fails so, once batch 6 is in a checkpoint
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytorch_lightning as pl

SAMPLE = 40


def dying() -> list[pl.Callback]:
    """A callback that kills its process by SIGKILL, if the environment names a moment."""
    where, _, steps = os.environ.get("EXACT_DIES", "").partition(":")
    if not where:
        return []
    stage, _, hook = where.partition(".")

    def die(self: pl.Callback, trainer: pl.Trainer, *args: object, **kwargs: object) -> None:
        if trainer.state.fn == stage and trainer.global_step >= int(steps):
            os.kill(os.getpid(), signal.SIGKILL)

    return [type("Dies", (pl.Callback,), {hook: die})()]


def fail(sample: int) -> None:
    """What befalls whoever loads that sample of the training data."""
    kind, _, batch = os.environ.get("EXACT_FAULT", "").partition(":")
    if not kind or sample != SAMPLE or not _saved(int(batch)):
        return
    if kind == "raises":
        raise ValueError("a bad sample")
    if kind.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[kind])
    if kind == "exits":
        os._exit(3)
    if kind == "hangs":
        Path("hanging").touch()
        time.sleep(600)


def _saved(batch: int) -> bool:
    files = Path.cwd().glob("data/artifacts/*/checkpoints/step-*.ckpt")
    return any(int(file.stem.removeprefix("step-")) >= batch for file in files)
