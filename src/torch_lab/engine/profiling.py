"""A profiler's report: in the run's directory, said, and there too when a run is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.profilers import PassThroughProfiler, Profiler

from torch_lab.errors import Stopped
from torch_lab.utils.paths import display

FOLDER, NAME = "profile", "report"


def settle(trainer: pl.Trainer, directory: Path) -> None:
    """Let the user's profiler write to the run's directory, unless it has a place of its own.

    Without a file's name Lightning only logs the report, among remarks that a run silences.
    """
    profiler = _users(trainer)
    if profiler is not None:
        profiler.dirpath = profiler.dirpath or directory / FOLDER
        profiler.filename = profiler.filename or NAME


@contextmanager
def told(trainer: pl.Trainer, say: Callable[[str], None]) -> Iterator[None]:
    """Say where the report is when training ends, or is ended."""
    profiler = _users(trainer)
    try:
        yield
    except Stopped:
        if profiler is not None:
            profiler.describe()
        raise
    finally:
        if profiler is not None and profiler.dirpath and Path(profiler.dirpath).is_dir():
            say(f"profile in {display(profiler.dirpath)}")


def _users(trainer: pl.Trainer) -> Profiler | None:
    profiler: Profiler = trainer.profiler  # type: ignore[attr-defined]
    return None if isinstance(profiler, PassThroughProfiler) else profiler
