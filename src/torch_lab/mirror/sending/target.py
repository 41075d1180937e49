"""The task that a run is mirrored to: found or made, described, started and ended."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from torch_lab.errors import ServerRefused, ServerUnreachable
from torch_lab.mirror import task as tasks
from torch_lab.mirror.finding import making_sense
from torch_lab.mirror.sending.ledger import Ledger
from torch_lab.mirror.server import Server
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record

LIVE = "in_progress"
_NOT_BEGUN = ("", "created", "queued")
_ENDED = ("stopped", "closed", "failed", "completed", "published")
_GIVEN_UP = "non-responsive"  # why the server's watchdog says it stopped a task
# What the server or its users change, or what is the same for ever.
_SENT_ONCE = ("system_tags",)
# What holds parts of others too: they stay.
_SHARED = ("hyperparams", "configuration")

ParentTask = Callable[[str], "str | None"]


class Target:
    """A run's task on the server."""

    def __init__(self, server: Server, run: RunDirectory, ledger: Ledger) -> None:
        self._server = server
        self._run = run
        self._ledger = ledger
        self._described: object = None

    @property
    def id(self) -> str:
        """The task's id."""
        task_id = self._ledger.mirror.task_id
        assert task_id is not None
        return task_id

    def reach(self, record: Record, parent_of: ParentTask) -> bool:
        """Have a task that shows what is known of the run by now; whether it is a new one."""
        if self._ledger.mirror.server != self._server.host:
            self._ledger.start_over(self._server.host)
        created = self._ledger.mirror.task_id is None and not self._find(record)
        if created:
            self._create(record, parent_of)
        self._describe(record, parent_of)
        return created

    def exists(self) -> bool:
        """Whether the server still knows the task."""
        return status_of(self._server, self.id) is not None

    def stopped(self) -> bool:
        """Whether somebody has aborted it on the server.

        The server itself stops tasks of which it heard nothing for two hours, as while the network
        was away: it is told that this one goes on.
        """
        found = status_of(self._server, self.id) or {}
        if _GIVEN_UP in str(found.get("status_reason") or "").lower():
            self._server.call("tasks.started", task=self.id, force=True)
            return False
        stopping = "stopping" in str(found.get("status_message") or "").lower()
        return stopping or found.get("status") in _ENDED

    def begin(self, *, live: bool) -> None:
        """Tell that the run has started; again when it goes on after an end."""
        mirror = self._ledger.mirror
        if mirror.status in _NOT_BEGUN or (live and mirror.status != LIVE):
            self._server.call("tasks.started", task=self.id, force=True)
            mirror.status, mirror.abort, mirror.done = LIVE, None, False
            self._ledger.save()

    def end(self, status: str, reason: str | None) -> None:
        """Tell how the run ended."""
        endpoint, body = tasks.ending(status, reason)
        told = endpoint.rpartition(".")[2]
        mirror = self._ledger.mirror
        if mirror.status != told:
            self._server.call(endpoint, task=self.id, **body)
            mirror.status = told
            self._ledger.save()

    # -- what hangs on it ----------------------------------------------------------------------

    def put_artifact(self, entry: dict[str, Any]) -> None:
        """Have the task list this artifact, in place of one by the same name."""
        self._replace("execution", "artifacts", "key", entry["key"], [entry])

    def drop_artifact(self, key: str) -> None:
        """Have the task list no artifact by this name."""
        self._replace("execution", "artifacts", "key", key, [])

    def put_model(self, name: str, model: str) -> None:
        """Have the task give this name to that model."""
        self._replace("models", "output", "name", name, [{"name": name, "model": model}])

    def _replace(self, part: str, field: str, key: str, value: str, entries: list[Any]) -> None:
        # Not by the calls made for that: they refuse a task that has ended or was aborted.
        found = self._server.call("tasks.get_all", id=[self.id], only_fields=[f"{part}.{field}"])
        with making_sense(self._server):
            listed = [(each.get(part) or {}).get(field) or [] for each in found["tasks"]]
            kept = [each for each in chain(*listed) if each[key] != value]
        changed: dict[str, Any] = {part: {field: kept + entries}}
        self._server.call("tasks.edit", task=self.id, force=True, **changed)

    # -- which one -----------------------------------------------------------------------------

    def _find(self, record: Record) -> bool:
        """Take a task that an earlier sender made; what it has of events can't be known."""
        self._ledger.settle()
        found = by_tag(self._server, record.id)
        if found is None:
            return False
        mirror = self._ledger.mirror
        mirror.task_id, mirror.status = found["id"], found.get("status") or ""
        mirror.project = _project_of(found)
        mirror.page = self._server.page(mirror.project, found["id"])
        mirror.anew = True
        self._ledger.save()
        return True

    def _create(self, record: Record, parent_of: ParentTask) -> None:
        fields = self._fields(record, parent_of)
        try:
            created = self._server.call("tasks.create", **fields)
        except ServerUnreachable:
            self._ledger.doubt()
            raise
        mirror = self._ledger.mirror
        with making_sense(self._server):
            mirror.task_id, mirror.project = str(created["id"]), fields["project"]
        mirror.page = self._server.page(mirror.project, mirror.task_id)
        mirror.status, mirror.defined = "created", _digests(fields)
        self._ledger.save()

    # -- what it shows -------------------------------------------------------------------------

    def _describe(self, record: Record, parent_of: ParentTask) -> None:
        """Send the fields that changed: others may have been edited in the web page."""
        now = self._stamps()
        if now == self._described:
            return
        fields = self._fields(record, parent_of)
        mirror, digests = self._ledger.mirror, _digests(fields)
        changed = [
            key
            for key, digest in digests.items()
            if mirror.defined.get(key) != digest and key not in _SENT_ONCE
        ]
        if changed:
            edited = {key: fields[key] for key in changed}
            self._server.call("tasks.edit", task=self.id, force=True, **self._merged(edited))
            mirror.defined = digests
            self._ledger.save()
        self._described = now

    def _merged(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields with the sections and objects that ClearML's SDK or people have added."""
        shared = [key for key in _SHARED if key in fields]
        if not shared:
            return fields
        found = self._server.call("tasks.get_all", id=[self.id], only_fields=shared)
        with making_sense(self._server):
            there = [{key: each.get(key) or {} for key in shared} for each in found["tasks"]]
            return fields | {key: {**each[key], **fields[key]} for each in there for key in shared}

    def _fields(self, record: Record, parent_of: ParentTask) -> dict[str, Any]:
        parent = parent_of(record.parent.id) if record.parent else None
        return placed(self._server, self._run, record, parent)

    def _stamps(self) -> object:
        run = self._run
        files = (run.record_file, run.environment_file, run.git_diff, run.source_bundle)
        return [_stamp(file) for file in files]


def placed(server: Server, run: RunDirectory, record: Record, parent: str | None) -> dict[str, Any]:
    """What defines a run's task, with the project, parent and store that this server has for it."""
    fields = tasks.definition(run, record)
    fields["project"] = project_id(server, tasks.project_name(record))
    if parent is not None:
        fields["parent"] = parent
    target = output_uri(record)
    if target is not None:
        fields["output_dest"] = target
    return fields


def by_tag(server: Server, run_id: str) -> dict[str, Any] | None:
    """The task of a run, the oldest if it was copied."""
    wanted = ["id", "status", "project", "created"]
    found = _tasks(server, wanted, system_tags=[tasks.run_tag(run_id)], order_by=["created"])
    return found[0] if found else None


def status_of(server: Server, task_id: str) -> dict[str, Any] | None:
    """What the server says of a task's status; None where it knows no such task."""
    wanted = ["id", "status", "status_message", "status_reason"]
    found = _tasks(server, wanted, id=[task_id])
    return next((each for each in found if each["id"] == task_id), None)


def _tasks(server: Server, wanted: list[str], **which: Any) -> list[dict[str, Any]]:
    answer = server.call("tasks.get_all", only_fields=wanted, **which)
    with making_sense(server):
        return [{**each, "id": str(each["id"])} for each in answer["tasks"]]


def project_id(server: Server, name: str) -> str:
    """The project of that name, made if there is none."""
    found = _project(server, name)
    if found is not None:
        return found
    try:
        created = server.call("projects.create", name=name, description="")
        with making_sense(server):
            return str(created["id"])
    except ServerRefused:  # another process has just made it
        found = _project(server, name)
        if found is None:
            raise
        return found


def _project(server: Server, name: str) -> str | None:
    pattern = f"^{re.escape(name)}$"
    answer = server.call("projects.get_all", name=pattern, only_fields=["id", "name"])
    with making_sense(server):
        named = (str(each["id"]) for each in answer["projects"] if each["name"] == name)
        return next(named, None)


def output_uri(record: Record) -> str | None:
    """Where the task section says that models and artifacts go; None for the files server."""
    section = record.hparams.get("task")
    given = section.get("output_uri") if isinstance(section, Mapping) else None
    return given if isinstance(given, str) and given else None


def _project_of(found: Mapping[str, Any]) -> str:
    project = found.get("project") or ""
    return str(project.get("id", "")) if isinstance(project, Mapping) else str(project)


def _digests(fields: Mapping[str, Any]) -> dict[str, str]:
    texts = {key: json.dumps(value, sort_keys=True) for key, value in fields.items()}
    return {key: hashlib.sha256(text.encode()).hexdigest()[:16] for key, text in texts.items()}


def _stamp(file: Any) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
