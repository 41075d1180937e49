"""Projects; "a/b" lies in "a", which is made where it is missing."""

from __future__ import annotations

from typing import Any

from clearml_server.api.checks import named, tags_of
from clearml_server.api.endpoints import USER, Call, endpoint
from clearml_server.database import Database, Document, new_id, now
from clearml_server.queries import select
from clearml_server.refusals import Refused

_FIELDS = ("name", "description", "default_output_destination")


def _by_name(database: Database, name: str) -> Document | None:
    return next((each for each in database.all("project") if each["name"] == name), None)


def make(database: Database, name: str, body: Document) -> Document:
    """A new project, and those it lies in."""
    named(name, "project")
    above = name.rpartition("/")[0]
    if above:
        parent = _by_name(database, above) or make(database, above, {})
    document: Document = {"id": new_id(), "basename": name.rpartition("/")[2], "created": now()}
    document |= {"parent": parent["id"] if above else None, "description": ""}
    document |= {"company": USER["company"], "user": USER["id"]} | tags_of(body)
    fields = {key: body[key] for key in _FIELDS if key in body}
    return database.put("project", document | fields | {"name": name})


@endpoint("projects.create")
def create(call: Call) -> dict[str, Any]:
    name = str(call.body.get("name") or "").strip()
    if _by_name(call.database, name):
        raise Refused(400, 801, "Value combination already exists (unique field): name")
    return {"id": make(call.database, name, call.body)["id"]}


@endpoint("projects.get_all", "projects.get_all_ex")
def get_all(call: Call) -> dict[str, Any]:
    return {"projects": select(call.database.all("project"), call.body)}


@endpoint("projects.get_by_id")
def get_by_id(call: Call) -> dict[str, Any]:
    return {"project": call.database.require("project", call.body.get("project"))}


@endpoint("projects.update")
def update(call: Call) -> dict[str, Any]:
    document = call.database.require("project", call.body.get("project"))
    fields = {key: call.body[key] for key in _FIELDS if key in call.body}
    fields |= {key: call.body[key] for key in ("tags", "system_tags") if key in call.body}
    call.database.put("project", document | fields)
    return {"updated": 1, "fields": fields}


@endpoint("projects.delete")
def delete(call: Call) -> dict[str, Any]:
    document = call.database.require("project", call.body.get("project"))
    if not call.body.get("force"):
        held = [each for each in call.database.all("task") if each["project"] == document["id"]]
        if held:
            raise Refused(400, 402, "Project has associated tasks, use force=true to delete")
    call.database.delete("project", document["id"])
    return {"deleted": 1, "disassociated_tasks": 0, "urls": {}, "deleted_models": 0}
