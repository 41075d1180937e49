"""A trial's run: it knows the trial that it is of, and goes on with an earlier start of it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch_lab.errors import Stopped
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.store.host import Liveness, Process
from torch_lab.store.record import UNFINISHED
from torch_lab.store.secrets import mask_text

TRIAL = "_TORCH_LAB_TRIAL"  # what a trial's processes know of their sweep
PRUNER = "pruner"  # who stopped a run that was pruned
_LOOK = 0.2  # seconds between two looks at a run that is just ending


@dataclass(frozen=True)
class Membership:
    """The trial that this process trains, and which process searches."""

    study: str
    trial: int
    trial_id: int
    key: str
    storage: str
    artifacts: str
    prefix: str
    metric: str
    mode: str
    pruner: str
    pruner_kwargs: Mapping[str, Any] = field(default_factory=dict)
    searcher: Mapping[str, Any] = field(default_factory=dict)
    lost_after: float = 60.0

    def as_environment(self) -> dict[str, str]:
        """The variable that tells the trial's processes."""
        return {TRIAL: json.dumps(asdict(self))}

    def as_record(self) -> dict[str, Any]:
        """The run's place in the sweep, for its record."""
        storage = mask_text(self.storage)
        return {"study": self.study, "trial": self.trial, "key": self.key, "storage": storage}


def current() -> Membership | None:
    """The trial that this process trains, if it does."""
    text = os.environ.get(TRIAL)
    return Membership(**json.loads(text)) if text else None


def as_record() -> dict[str, Any] | None:
    """The place of this process's run in a sweep."""
    mine = current()
    return None if mine is None else mine.as_record()


def runs_of(artifacts: Path, prefix: str, lost_after: float) -> dict[str, StoredRun]:
    """The runs of a script that are of trials, by the trials' keys.

    Numbers would not do: a study may be deleted, and begun anew.
    """
    found: dict[str, StoredRun] = {}
    for run in find.runs(artifacts, lost_after=lost_after):
        if run.folder.rpartition("_v")[0] != prefix or run.status == find.DAMAGED:
            continue
        key = run.facts.exactly("sweep.key")
        if key is not None and not run.brief.fetched:
            found.setdefault(key, run)
    return found


def earlier_run() -> StoredRun | None:
    """The run that this trial has from an earlier start; one that is just ending is waited for."""
    mine = current()
    if mine is None:
        return None
    end = time.monotonic() + 2 * mine.lost_after
    while True:
        run = runs_of(Path(mine.artifacts), mine.prefix, mine.lost_after).get(mine.key)
        if run is None or run.status not in UNFINISHED or time.monotonic() > end:
            return run
        time.sleep(_LOOK)


def nothing_to_do(run: StoredRun) -> str:
    """What to say of a trial's run that was completed before."""
    return f"{run.record.name}, the run of this trial, is completed"


def require_sweep() -> None:
    """Make no run for a sweep that is gone: another process may have this trial by now."""
    mine = current()
    if mine is not None and Process(**mine.searcher).liveness() is not Liveness.ALIVE:
        raise Stopped(signal.SIGTERM)
