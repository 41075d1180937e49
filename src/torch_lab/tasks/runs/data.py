"""The runs as data, for `--json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from torch_lab.store.find import StoredRun
from torch_lab.tasks.runs.live import live
from torch_lab.tasks.runs.meaning import duration
from torch_lab.tasks.table import plain


def as_data(runs: Sequence[StoredRun], now: float | None = None) -> list[dict[str, Any]]:
    """The runs: the record's keys, the status as readers see it, the directory."""
    now = time.time() if now is None else now
    return [run_data(run, now) for run in runs]


def run_data(run: StoredRun, now: float) -> dict[str, Any]:
    """One run; `live` is where it is by now, if it is under way."""
    data: dict[str, Any] = plain(run.record)
    extra = data.pop("extra", {})
    own: dict[str, Any] = {"status": run.status, "duration": duration(run, now)}
    if at := live(run):
        own["live"] = at._asdict()
    if run.where != "local":
        own["where"] = run.where
    directory = None if run.where == "server" else str(run.directory.path)
    return {**data, **own, "directory": directory, **extra}
