"""The server's runs, as the records that `lab runs` lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from torch_lab.mirror import hyperparams
from torch_lab.mirror.events import name_of
from torch_lab.mirror.finding import Task, making_sense, project_names, task_of
from torch_lab.mirror.server import Server
from torch_lab.mirror.task import FAMILY, ended
from torch_lab.mirror.words import clean
from torch_lab.store.record import MetricSummary, Progress, Record

_PAGE = 500  # the most that the server gives at once
_MOST = 4 * _PAGE  # runs that are looked at, the newest
_FIELDS = (
    *("id", "name", "project", "system_tags", "status", "status_reason", "status_message"),
    *("created", "started", "completed", "last_iteration"),
    *("hyperparams.hparams", "last_metrics", "script.entry_point", "runtime.hostname"),
)
NOT_METRICS = (":monitor:machine", ":monitor:gpu", "Summary")


def runs(projects: Sequence[str]) -> dict[str, Any]:
    """The server's runs of torch-lab, newest first: those of these projects, or all."""
    server = Server.connect()
    with making_sense(server):
        ids = _ids(server, projects)
        found = _tasks(server, {"project": ids} if projects else {}) if ids or not projects else []
        listed = [_listed(task) for task in found if task.run_id is not None]
    return {"server": server.host, "runs": listed, "cut": len(found) >= _MOST}


def record_of(task: Task) -> Record:
    """A run's record, as far as its task tells it."""
    content = task.content
    script = str(_part(content, "script").get("entry_point") or "")
    status, reason = ended(content)
    steps = content.get("last_iteration")
    created = _time(content.get("created")) or 0.0
    return Record(
        name=task.name,
        id=str(task.run_id),
        status=status,
        reason=clean(reason, 2000) if reason else None,
        experiment=PurePosixPath(script).parent.name,
        script=script,
        created=_time(content.get("started")) or created,
        started=_time(content.get("started")),
        ended=_time(content.get("completed")),
        hparams=hyperparams.told(_part(content, "hyperparams").get(hyperparams.SECTION) or {}),
        host=clean(_part(content, "runtime").get("hostname") or ""),
        metrics=_metrics(content.get("last_metrics") or {}),
        progress=Progress(0, steps, 0) if isinstance(steps, int) else Progress(),
    )


def _ids(server: Server, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    found = server.call("projects.get_all", only_fields=["id", "name"])["projects"]
    return [str(each["id"]) for each in found if each["name"] in names]


def _tasks(server: Server, which: Mapping[str, Any]) -> list[Task]:
    """The tasks of all pages, up to a bound; they may change while they are turned."""
    found: dict[str, Mapping[str, Any]] = {}
    order, fields = ["-created"], list(_FIELDS)
    content = {"system_tags": [FAMILY], "order_by": order, "only_fields": fields, **which}
    for page in range(_MOST // _PAGE):
        answer = server.call("tasks.get_all", page=page, page_size=_PAGE, **content)["tasks"]
        found |= {str(each["id"]): each for each in answer}
        if len(answer) < _PAGE:
            break
    names = project_names(server, list(found.values()))
    return [task_of(each, names) for each in found.values()]


def _listed(task: Task) -> dict[str, Any]:
    archived = "archived" in (task.content.get("system_tags") or ())
    record = record_of(task).as_json()
    return {"task_id": task.id, "project": task.project, "archived": archived, "record": record}


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = content.get(name)
    return part if isinstance(part, Mapping) else {}


def _metrics(last: Mapping[str, Any]) -> dict[str, MetricSummary]:
    """Last, least and greatest of each series."""
    found = {}
    for each in (variant for metric in last.values() for variant in metric.values()):
        if each["metric"] in NOT_METRICS:
            continue
        values = [each.get(key) for key in ("value", "min_value", "max_value")]
        numbers = [float(value) if _is_number(value) else math.nan for value in values]
        found[name_of(str(each["metric"]), str(each["variant"]))] = MetricSummary(*numbers)
    return dict(sorted(found.items()))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _time(text: object) -> float | None:
    """Seconds since 1970 for a time as ClearML writes it; without a zone it is UTC."""
    if not isinstance(text, str) or not text:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
