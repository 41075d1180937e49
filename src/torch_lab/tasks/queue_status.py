"""What became of the runs that were handed to a queue, where no agent has begun them here."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from torch_lab.errors import ServerError
from torch_lab.mirror.asking import start_asking
from torch_lab.mirror.waiting import ENDED, last_word
from torch_lab.store.find import StoredRun
from torch_lab.store.record import QUEUED

_SECONDS = 2.0  # that somebody waits who wants to see a list
_LONGER = 15.0  # seconds in which an answer that comes too late is noted for the next time
_MOST = 500  # tasks in a question


def as_the_server_says(runs: Sequence[StoredRun], *, again: bool = False) -> list[StoredRun]:
    """The runs, those that are queued with the status that the server tells, or told last.

    Only runs that may still change are asked for; with `again` others are, too: in the web page a
    task can be queued once more.
    """
    waiting = {task: run for run in runs if (task := _task(run))}
    open_ones = [t for t, run in waiting.items() if again or last_word(run.directory) not in ENDED]
    if open_ones:
        _ask({task: str(waiting[task].directory.path) for task in open_ones[:_MOST]})
    return [run.changed(status=last_word(run.directory)) if _task(run) else run for run in runs]


def _task(run: StoredRun) -> str:
    return str((run.record.queued or {}).get("task") or "") if run.status == QUEUED else ""


def _ask(runs: Mapping[str, str]) -> None:
    """Let the answer be noted beside the runs; not ended where it takes longer than one waits."""
    try:
        start_asking("queued", timeout=_LONGER, runs=runs).answer(_SECONDS)
    except ServerError as error:
        print(f"queued runs are shown as the server told last: {error.message}", file=sys.stderr)
