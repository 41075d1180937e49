"""Whose code it is that lies with a run."""

from __future__ import annotations

from pathlib import Path

from torch_lab import settings
from torch_lab.store.find import StoredRun


def is_own(run: StoredRun) -> bool:
    """Whether a run was made here: not fetched, and among the runs of the project that one stands
    in, or of the one around its folder."""
    if run.record.fetched is not None:
        return False
    folder = run.directory.path.resolve().parent
    # From the folder up: what lies in the run itself has no say.
    around = (Path.cwd(), run.directory.path.parent)
    return any(folder == settings.load(place).artifacts.resolve() for place in around)
