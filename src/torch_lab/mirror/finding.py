"""A task of the server, found by what a person calls it, and the checkpoints that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from torch_lab.errors import CheckpointNotFound, RunNotFound, ServerUnreachable
from torch_lab.mirror.server import Server
from torch_lab.mirror.task import run_tag
from torch_lab.mirror.words import clean
from torch_lab.utils.text import plural

SUFFIX = ".ckpt"
_ID = re.compile(r"[0-9a-f]{32}")
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SHORT = ("id", "name", "project", "status", "created", "system_tags")
_LONG = (
    *(
        *_SHORT,
        "status_reason",
        "status_message",
        "started",
        "completed",
        "last_update",
        "last_iteration",
    ),
    *("hyperparams.hparams", "last_metrics", "script.entry_point", "runtime.hostname"),
    *("execution.artifacts", "models"),
)
_FACTS = ("sha256", "size", "checkpoint", "step", "epoch", "batch")  # beside the metrics
_MOST = 100  # tasks of one name that are looked at
_LISTED = 8
# What ClearML writes in place of an address while a file is on its way, and when it never came.
_NOT_THERE = {
    "uploading_file": "its upload is not finished",
    "failed_uploading": "its upload failed",
    "unknown": "where it is was never said",
    "": "where it is was never said",
}


@dataclass(frozen=True)
class Task:
    """A task as the server describes it; of torch-lab 2 it has the id of the run."""

    id: str
    name: str
    project: str
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def run_id(self) -> str | None:
        """The id of the run that the task mirrors; None for any other task."""
        tags = self.content.get("system_tags") or ()
        begin = run_tag("")
        ids = [str(tag).removeprefix(begin) for tag in tags if str(tag).startswith(begin)]
        return next((each for each in ids if _ID.fullmatch(each)), None)

    @property
    def title(self) -> str:
        """PROJECT/NAME."""
        return f"{self.project}/{self.name}" if self.project else self.name

    @property
    def artifacts(self) -> dict[str, Mapping[str, Any]]:
        """What was uploaded beside the models, by key."""
        listed = (self.content.get("execution") or {}).get("artifacts") or ()
        return {str(each["key"]): each for each in listed}


@dataclass(frozen=True)
class Model:
    """A model that a task has put out: a checkpoint by the name that the task gives it."""

    name: str
    uri: str
    facts: Mapping[str, str] = field(default_factory=dict)
    own_name: str = ""  # what the model itself is called

    @property
    def sha256(self) -> str | None:
        """The hash of the file, where torch-lab 2 has uploaded it."""
        found = self.facts.get("sha256", "").lower()
        return found if re.fullmatch(r"[0-9a-f]{64}", found) else None

    @property
    def size(self) -> int | None:
        """The file's size in bytes, where it is known."""
        return self.number("size")

    @property
    def missing(self) -> str | None:
        """Why there is no file, where there is none."""
        return _NOT_THERE.get(self.uri.rstrip("/").rpartition("/")[2])

    def number(self, key: str) -> int | None:
        """One of the facts as a number."""
        text = self.facts.get(key, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@contextmanager
def making_sense(server: Server) -> Iterator[None]:
    """An answer of any other shape than a ClearML server's is as good as none."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        raise ServerUnreachable(
            f"the ClearML server at {server.host} answers, but not as a ClearML server does"
        ) from None


def find(
    server: Server, readings: Sequence[tuple[str, str | None]], *, prefer_runs: bool = False
) -> tuple[Task, str | None] | None:
    """The task, and the checkpoint's name if there is one, that the text names in one reading.

    RunNotFound where a name is that of several tasks. With `prefer_runs`, tasks that are no runs
    of torch-lab 2 don't count beside those that are.
    """
    with making_sense(server):
        for name, checkpoint in readings:
            found = _called(server, name)
            if prefer_runs:
                found = [task for task in found if task.run_id is not None] or found
            if found:
                return _details(server, _only(server, name, found).id), checkpoint
    return None


def with_id(server: Server, task_id: str) -> Task:
    """The task of this id; RunNotFound where the server has it no more."""
    with making_sense(server):
        return _details(server, task_id)


def models(server: Server, task: Task) -> list[Model]:
    """The checkpoints of a task, by the names that it gives them; the newest of a name."""
    with making_sense(server):
        outputs = (task.content.get("models") or {}).get("output") or ()
        named = {str(each["model"]): str(each["name"]) for each in outputs}
        answers = [server.call("models.get_all", task=[task.id], page_size=1000, page=0)]
        if named:
            answers.append(server.call("models.get_all", id=list(named)))
        documents = {str(each["id"]): each for answer in answers for each in answer["models"]}
        ordered = sorted(documents.values(), key=lambda each: str(each.get("created") or ""))
        found = {}
        # What the task names itself goes before what only says which task it is of.
        for each in sorted(ordered, key=lambda each: each["id"] in named):
            model = _model(each, named.get(each["id"]))
            found[model.name] = model
        return list(found.values())


def chosen(server: Server, task: Task, name: str, *, asked: bool = True) -> Model:
    """The model of this name; CheckpointNotFound says what the task has instead.

    Not `asked`: nobody typed the name, so that a foreign task's only model may be what is meant.
    """
    known = models(server, task)
    model = _named(known, name)
    title = f"task {task.title} ({task.id}) on {server.host}"
    if model is None:
        raise CheckpointNotFound(
            f"{title} has no checkpoint {name!r}: {has(known)}",
            hint=None if asked or task.run_id is not None else _only_one(task, known),
        )
    if model.missing:
        raise CheckpointNotFound(
            f"checkpoint {name!r} of {title} is not there: {model.missing}",
            hint=has([each for each in known if each is not model]),
        )
    return model


def _named(known: Sequence[Model], name: str) -> Model | None:
    """The model by the task's name for it, by its file's, or by its own if no other has that."""
    model = next((each for each in known if each.name == name), None)
    if model is None:  # whatever the task calls it: ModelCheckpoint's files have names too
        model = next((each for each in known if _stem(each.uri) == name), None)
    own = [
        each
        for each in known
        if name in (each.name.removesuffix(SUFFIX), each.own_name.removesuffix(SUFFIX))
    ]
    return own[0] if model is None and len(own) == 1 else model


def _only_one(task: Task, known: Sequence[Model]) -> str | None:
    """How to type a task's only model, where it can be."""
    words = typed(task, known) if len(known) == 1 else []
    return f"It is taken by its name: {words[0]}" if words else None


def typed(task: Task, known: Sequence[Model]) -> list[str]:
    """The options that take these models, "last" first; those that are there."""
    there = [each.name for each in known if not each.missing and ":" not in each.name]
    there.sort(key=lambda name: name != "last")
    return [f"--checkpoint {shlex.quote(f'{task.id}:{name}')}" for name in there]


def has(known: Sequence[Model]) -> str:
    """Which checkpoints there are, as the end of a sentence."""
    names = [f"{each.name} ({each.missing})" if each.missing else each.name for each in known]
    return f"it has {', '.join(names)}" if names else "it has none"


def _called(server: Server, name: str) -> list[Task]:
    """Every task that goes by this name: an id, the id of a run, a name, PROJECT/NAME."""
    if _ID.fullmatch(name.lower()):
        found = _query(server, id=[name.lower()])
        return found or _query(server, system_tags=[run_tag(name.lower())])
    if not name.strip():
        return []
    parts = name.split("/")
    splits = {"/".join(parts[:n]): "/".join(parts[n:]) for n in range(len(parts) - 1, 0, -1)}
    projects = _projects(server, [each for each in splits if each])
    inside = [
        task
        for identifier, project in projects.items()
        for task in _query(server, name=_exactly(splits[project]), project=[identifier])
        if task.name == splits[project]
    ]
    return inside or [task for task in _query(server, name=_exactly(name)) if task.name == name]


def _projects(server: Server, names: Sequence[str]) -> dict[str, str]:
    """The names, by id, of those of these projects that there are."""
    if not names:
        return {}
    pattern = f"^(?:{'|'.join(map(re.escape, names))})$"
    found = server.call("projects.get_all", name=pattern, only_fields=["id", "name"])["projects"]
    return {str(each["id"]): str(each["name"]) for each in found if each["name"] in names}


def _exactly(name: str) -> str:
    return f"^{re.escape(name)}$"


def _query(server: Server, **which: Any) -> list[Task]:
    content = {"only_fields": list(_SHORT), "page": 0, "page_size": _MOST, **which}
    found = server.call("tasks.get_all", order_by=["-created"], **content)["tasks"]
    names = project_names(server, found)
    return [task_of(each, names) for each in found]


def _details(server: Server, task_id: str) -> Task:
    found = server.call("tasks.get_all", id=[task_id], only_fields=list(_LONG))["tasks"]
    if not found:
        raise RunNotFound(f"the ClearML server at {server.host} has no task {task_id}")
    return task_of(found[0], project_names(server, found))


def task_of(content: Mapping[str, Any], projects: Mapping[str, str]) -> Task:
    """A task as an answer holds it; ValueError for an id that is none."""
    identifier = content["id"]
    if not _TASK_ID.fullmatch(identifier):
        raise ValueError("an id of no known form")
    project = projects.get(str(content.get("project") or ""), "")
    return Task(identifier, _printable(content.get("name") or ""), project, content)


def project_names(server: Server, tasks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The names of the projects that these tasks are in, by id."""
    ids = sorted({str(each["project"]) for each in tasks if each.get("project")})
    if not ids:
        return {}
    found = server.call("projects.get_all", id=ids, only_fields=["id", "name"])["projects"]
    return {str(each["id"]): _printable(each["name"]) for each in found}


def _printable(text: str) -> str:
    """A name from elsewhere as it may be shown: one that moves a terminal's cursor is none."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _only(server: Server, name: str, found: list[Task]) -> Task:
    """The one task that is meant; of archived ones, or of the same run, the newest will do."""
    current = [task for task in found if "archived" not in (task.content.get("system_tags") or ())]
    found = current or found
    runs = {task.run_id for task in found}
    if len(found) == 1 or (len(runs) == 1 and None not in runs):
        return found[0]
    several = len({task.title for task in found}) > 1  # else PROJECT/NAME tells none apart
    lines = [f"  {_line(task)}" for task in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(f"  and {len(found) - _LISTED} more")
    raise RunNotFound(
        f'"{name}" names {plural(len(found), "task")} on {server.host}\n' + "\n".join(lines),
        hint="Name one by its id, or by PROJECT/NAME." if several else "Name one by its id.",
    )


def _line(task: Task) -> str:
    status, created = task.content.get("status"), str(task.content.get("created") or "")
    return f"{task.title}  {task.id}  {clean(status)}, {clean(created[:16].replace('T', ' '))}"


def _model(content: Mapping[str, Any], name: str | None) -> Model:
    metadata = content.get("metadata") or {}
    listed = metadata.values() if isinstance(metadata, Mapping) else metadata
    facts = {str(each["key"]): str(each.get("value")) for each in listed}
    own = str(content.get("name") or content["id"])
    return Model(_printable(name or own), str(content.get("uri") or ""), facts, _printable(own))


def _stem(uri: str) -> str:
    return PurePosixPath(unquote(urlsplit(uri).path)).name.removesuffix(SUFFIX)


def metrics_of(model: Model) -> dict[str, float]:
    """What was measured when the checkpoint was saved."""
    found = {}
    for name, text in model.facts.items():
        if name not in _FACTS:
            with suppress(ValueError):
                found[_printable(name)] = float(text)
    return found
