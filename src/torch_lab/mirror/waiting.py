"""What the server says of runs that wait in a queue; its last word is kept beside each run.

Listing verbs import this; only the answering process gets as far as the server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED
from torch_lab.utils.files import write_atomic

FORMAT = 1
GONE = "deleted"
# The server's word: ours.
_WORDS = {
    "created": "draft",  # as its web page calls it: taken out of the queue, or never put into it
    "queued": QUEUED,
    "in_progress": "running",
    "stopped": "aborted",
    "failed": "failed",
    "completed": "completed",
    "closed": "completed",
    "publishing": "completed",
    "published": "completed",
}
ENDED = frozenset({"completed", "failed", "aborted", GONE})


def last_word(run: RunDirectory) -> str:
    """The status that the server told last; "queued" where it was never asked."""
    try:
        return str(json.loads(run.queue_file.read_bytes())["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return QUEUED


def queued(runs: Mapping[str, str]) -> dict[str, Any]:
    """Ask for the status of these tasks, and note it in their runs' directories."""
    from torch_lab.mirror.server import Server  # takes a second

    found = Server.connect().call("tasks.get_all", id=list(runs), only_fields=["id", "status"])
    said = {str(each["id"]): _WORDS.get(str(each["status"]), QUEUED) for each in found["tasks"]}
    for task, directory in runs.items():
        _note(RunDirectory(Path(directory)), said.get(task, GONE))
    return {}


def _note(run: RunDirectory, status: str) -> None:
    if status == last_word(run):
        return
    content = {"format": FORMAT, "status": status, "time": round(time.time(), 3)}
    with suppress(OSError):  # somebody who may only look, or the run was removed meanwhile
        write_atomic(run.queue_file, json.dumps(content).encode() + b"\n", durable=False)
