"""The questions of an agent that runs a queued task: what to run, and that it has begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch_lab.errors import ServerError
from torch_lab.mirror import storage
from torch_lab.mirror.hyperparams import SECTION
from torch_lab.mirror.queueing import FORMAT, ORDER, SOURCE
from torch_lab.mirror.server import Server
from torch_lab.mirror.task import abortable, run_tag
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import read

_FIELDS = (
    *("id", "name", "status", "project", "runtime", "system_tags", "last_iteration"),
    *("hyperparams", "execution.artifacts"),
)
_DOWNLOAD = 600.0  # seconds for one file


def order(task: str, folder: str) -> dict[str, Any]:
    """What `train --queue` has sent, the code in a file of `folder`; the task's hyperparameters."""
    server = Server.connect(30.0)
    content = _task(server, task)
    place = RunDirectory(Path(folder))
    file = place.path / "queued.json"
    _fetch(content, ORDER, file)
    _fetch(content, SOURCE, place.source_bundle)
    project = str(content.get("project") or "")
    return {
        "order": _read(file),
        "hparams": (content.get("hyperparams") or {}).get(SECTION) or {},
        "name": content.get("name"),
        "server": server.host,
        "project": project,
        "page": server.page(project, task),
        "untouched": not content.get("last_iteration"),
    }


def begun(run: str) -> dict[str, Any]:
    """Let the task be found by its run, and an agent that aborts it wait until it has saved."""
    server = Server.connect(30.0)
    record = read(RunDirectory(Path(run)))
    task = str((record.queued or {})["task"])
    content = _task(server, task)
    tags = [tag for tag in content.get("system_tags") or () if not tag.startswith(run_tag(""))]
    server.call(
        "tasks.edit",
        task=task,
        force=True,
        runtime={**(content.get("runtime") or {}), **abortable(record)},
        system_tags=[*tags, run_tag(record.id)],
    )
    return {}


def _task(server: Server, task: str) -> dict[str, Any]:
    found = server.call("tasks.get_all", id=[task], only_fields=list(_FIELDS))["tasks"]
    if not found:
        raise ServerError(f"the ClearML server at {server.host} has no task {task}")
    content: dict[str, Any] = found[0]
    return content


def _fetch(content: dict[str, Any], key: str, target: Path) -> None:
    listed = (content.get("execution") or {}).get("artifacts") or ()
    found = next((each for each in listed if each.get("key") == key), None)
    if found is None:
        raise ServerError(
            f"task {content['id']} has no artifact {key!r}: `train --queue` didn't make it",
            hint="Queue the run again with `train --queue`.",
        )
    size, sha256 = found.get("content_size"), found.get("hash")
    storage.download(found["uri"], target, size=size, sha256=sha256, deadline=_DOWNLOAD)


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_bytes())
    if content["format"] > FORMAT:
        raise ServerError(
            f"the task was queued by torch-lab {content['torch_lab']}, which is newer than this",
            hint="Update torch-lab where the agent runs.",
        )
    return content
