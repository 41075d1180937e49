"""`lab runs --server`: the runs that are here, and those that the ClearML server has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch_lab.mirror.asking import ask
from torch_lab.mirror.patience import LOOK
from torch_lab.mirror.task import project_name
from torch_lab.settings import Settings
from torch_lab.store import record as records
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import UNFINISHED


def projects(runs: Sequence[StoredRun], settings: Settings) -> list[str]:
    """The ClearML projects that this project's runs belong to, as far as those here tell."""
    own = {project_name(run.record) for run in runs if run.brief.dev_run is None and run.brief.id}
    return sorted(own | {settings.default_project or ""} - {""})


def merged(
    runs: Sequence[StoredRun], wanted: Collection[str], artifacts: Path
) -> tuple[list[StoredRun], bool]:
    """The runs here and the server's in these projects, or in any, newest first, each once.

    Also whether the server has still more. ServerError where it can't be asked.
    """
    said = ask("runs", LOOK, projects=list(wanted))
    theirs = {run.brief.id: run for run in (_run(each, artifacts) for each in said["runs"]) if run}
    both = [(run, theirs[run.brief.id]) for run in runs if run.brief.id in theirs]
    here = {each.brief.id: _in_both(each, it) for each, it in both}
    own = [here.get(run.brief.id, run) for run in runs]
    rest = [run for run in theirs.values() if run.brief.id not in here]
    found = sorted([*own, *rest], key=lambda run: run.brief.created, reverse=True)
    return found, bool(said["cut"])


def _in_both(run: StoredRun, theirs: StoredRun) -> StoredRun:
    """A run here that the server has too: it knows best how one goes on that was fetched early."""
    record, said = run.record, theirs.record
    fetched = record.fetched
    if fetched is not None and not (fetched.get("whole") and record.status not in UNFINISHED):
        record = replace(
            record,
            status=said.status,
            reason=said.reason,
            started=said.started or record.started,
            ended=said.ended,
            metrics=said.metrics or record.metrics,
        )
        run = run.changed(record=record, status=theirs.status)
    return run.changed(where="both", project=theirs.project)


def _run(said: dict[str, Any], artifacts: Path) -> StoredRun | None:
    """A run of the server's; archived ones are as good as deleted."""
    if said["archived"]:
        return None
    record = records.from_json(said["record"])
    place = RunDirectory(artifacts / record.name)  # where it isn't, yet
    return StoredRun(place, record, record.status, "server", str(said["project"]))
