"""What the real server's database refuses to store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_server.database import Database, Document
from clearml_server.refusals import invalid_status, invalid_value, missing

_TASK_TYPES = (
    *("training", "testing", "inference", "data_processing", "application", "monitor"),
    *("controller", "report", "optimizer", "service", "qc", "custom"),
)


def named(name: Any, kind: str) -> None:
    """Names have three characters or more."""
    if not isinstance(name, str):
        raise missing("name")
    if len(name.strip()) < 3:
        raise invalid_value(f"{kind}.name: String value is too short")


def tags_of(body: Document) -> Document:
    """Both kinds of tags, each once, sorted."""
    return {key: sorted(set(body.get(key) or ())) for key in ("tags", "system_tags")}


def check_type(given: Any) -> None:
    """A task has one of the known types."""
    if given not in _TASK_TYPES:
        raise invalid_value(f"task.type: Value must be one of {_TASK_TYPES}, not {given!r}")


def check_hyperparams(sections: Any) -> None:
    """Sections of parameters, each with its section, name and a value that is a string."""
    for section, parameters in _items(sections, "hyperparams"):
        for name, parameter in _items(parameters, f"hyperparams.{section}"):
            check_parameter(parameter, f"hyperparams.{section}.{name}", ("section", "name"))


def check_configuration(configuration: Any) -> None:
    """Configuration objects, each with its name and a value that is a string."""
    for name, each in _items(configuration, "configuration"):
        check_parameter(each, f"configuration.{name}", ("name",))


def check_parameter(parameter: Any, path: str, required: tuple[str, ...]) -> None:
    """Strings only, and nothing missing."""
    if not isinstance(parameter, Mapping):
        raise invalid_value(f"{path}: not an object")
    for field in (*required, "value"):
        if not isinstance(parameter.get(field), str):
            raise invalid_value(f"{path}.{field}: StringField only accepts string values")
    for field in ("type", "description"):
        if not isinstance(parameter.get(field), str | None):
            raise invalid_value(f"{path}.{field}: StringField only accepts string values")


def check_artifact(artifact: Any) -> None:
    """An artifact has a key and a type."""
    for field in ("key", "type"):
        if not isinstance(artifact.get(field), str):
            raise invalid_value(f"artifact.{field}: required")


def updatable(database: Database, body: Document, *, force: bool | None = None) -> Document:
    """The task that a request changes the contents of: a draft, with force also a running one."""
    task = database.require("task", body.get("task"))
    forced = body.get("force") if force is None else force
    allowed = ("created", "in_progress") if forced else ("created",)
    if task["status"] not in allowed:
        raise invalid_status("", expected="created", status=task["status"])
    return task


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise invalid_value(f"{path}: not an object")
    return list(value.items())
