"""A run handed to a ClearML queue: the task with all that an agent needs, and what became of it.

These are the questions of `train --queue` and of the verbs that list runs. The task is made whole
before it is put into the queue, which is the last step: whatever is cut off before runs nowhere.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch_lab import __version__
from torch_lab.errors import ServerError, UsageError
from torch_lab.mirror import state, storage
from torch_lab.mirror.highest import highest
from torch_lab.mirror.requirements import requirements
from torch_lab.mirror.sending.target import by_tag, output_uri, placed, status_of
from torch_lab.mirror.server import Server
from torch_lab.mirror.state import Mirror
from torch_lab.mirror.task import project_name
from torch_lab.store import find
from torch_lab.store.failures import storing
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record, read
from torch_lab.store.source_masks import masked_source
from torch_lab.utils.text import suggestion

FORMAT = 1
ORDER, SOURCE = "queued", "queued-source"  # the keys of the task's two input artifacts
_UPLOAD = 600.0  # seconds for one of them
# The agent writes it to a file and runs that. It is the same for every run, so that a copy of the
# task, edited and queued in the web page, runs as well.
_SCRIPT = '''\
"""A training that `train --queue` of torch-lab handed to a ClearML queue."""

import sys

if __name__ == "__main__":  # processes that are spawned import this file, too
    try:
        from torch_lab.cli.queued import main
    except ImportError as error:
        sys.exit(f"error: this agent's Python, {sys.executable}, has no torch-lab: {error}")
    main()
'''


def queue(name: str, project: str, prefix: str) -> dict[str, Any]:
    """The id of a queue, and the highest number of these runs; UsageError for no such queue."""
    server = Server.connect()
    found = server.call("queues.get_all", only_fields=["id", "name"]).get("queues") or []
    names = {str(each.get("name")): str(each["id"]) for each in found}
    if name not in names:
        raise UsageError(
            f"there is no queue {name!r} on the ClearML server at {server.host}",
            hint=suggestion(name, sorted(names)),
        )
    return {"queue": names[name], **highest(project, prefix)}


def draft(run: str, root: str, trust: bool) -> dict[str, Any]:
    """The task of a run, whole but in no queue; mirror.json tells of it before it is filled."""
    server, directory = Server.connect(), RunDirectory(Path(run))
    record = read(directory)
    fields = _fields(server, directory, record)
    found = by_tag(server, record.id)
    task = str(found["id"] if found else server.call("tasks.create", **fields)["id"])
    page = server.page(fields["project"], task)
    mirror = Mirror(server.host, task, fields["project"], page, "created", done=True)
    state.write(directory, mirror)
    base = storage.address(
        _place(server, record), project_name(record), f"{record.name}.{task}", "queued"
    )
    with tempfile.TemporaryDirectory() as folder:
        order = Path(folder) / "queued.json"
        order.write_bytes(json.dumps(_order(directory, record, root, task, trust)).encode())
        artifacts = [
            _uploaded(ORDER, order, base, "application/json"),
            _uploaded(SOURCE, directory.source_bundle, base, "application/gzip"),
        ]
    server.call("tasks.add_or_update_artifacts", task=task, artifacts=artifacts, force=True)
    return {"task_id": task, "page": page, "server": server.host}


def enqueue(task: str, queue: str) -> dict[str, Any]:
    """Put a task into a queue; ServerUnreachable where nobody knows whether it is in it now."""
    server = Server.connect()
    try:
        server.call("tasks.enqueue", task=task, queue=queue)
    except ServerError:  # an answer may be lost, and the next one be that the task is there
        found = status_of(server, task) or {}
        if found.get("status") not in ("queued", "in_progress"):
            raise
    return {}


def _fields(server: Server, directory: RunDirectory, record: Record) -> dict[str, Any]:
    fields = placed(server, directory, record, _parent(directory, record))
    fields["script"] = {
        "binary": fields["script"]["binary"],
        "repository": "",
        "branch": "",
        "version_num": "",
        "entry_point": "torch_lab_queued.py",
        "working_dir": ".",
        "diff": _SCRIPT,
        "requirements": {"pip": requirements()},
    }
    return fields


def _place(server: Server, record: Record) -> str:
    """Where agents get things from: where models go, unless that is a folder of this machine."""
    target = output_uri(record) or ""
    scheme = urlsplit(target).scheme
    return target if scheme and scheme != "file" else server.files


def _parent(directory: RunDirectory, record: Record) -> str | None:
    """The task of the run that this one starts from, where it has one."""
    if record.parent is None:
        return None
    known = find.runs(directory.path.parent)
    found = next((run for run in known if run.brief.id == record.parent.id), None)
    return find.task_of(found) if found else None


def _order(
    directory: RunDirectory, record: Record, root: str, task: str, trust: bool
) -> dict[str, Any]:
    """What an agent is to know beside the code; the record's hyperparameters keep their types."""
    return {
        "format": FORMAT,
        "torch_lab": __version__,
        "task": task,
        "record": record.as_json(),
        "root": root,
        "artifacts": str(directory.path.parent),
        "trust": trust,
        "pyproject": _pyproject(Path(root)),
        "git": directory.git_diff.read_bytes().decode(errors="replace"),
    }


def _pyproject(root: Path) -> str:
    """The project's settings stand there; a project without one is given an empty one."""
    file = root / "pyproject.toml"
    if not file.is_file():
        return ""
    with storing("read", file):
        return masked_source(file.name, file.read_bytes())[0].decode(errors="replace")


def _uploaded(key: str, file: Path, base: str, content_type: str) -> dict[str, Any]:
    """An artifact that a copy of the task has, too: that is what the mode `input` is for."""
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    url = storage.address(base, f"{digest[:16]}-{file.name}")
    storage.upload(file, url, deadline=_UPLOAD)
    return {
        "key": key,
        "type": "custom",
        "mode": "input",
        "uri": url,
        "hash": digest,
        "content_size": len(content),
        "timestamp": int(time.time()),
        "type_data": {"content_type": content_type, "preview": file.name},
    }
