"""Models: where a checkpoint lies, and what is known of it."""

from __future__ import annotations

from typing import Any

from clearml_server.api.checks import named, tags_of
from clearml_server.api.endpoints import USER, Call, endpoint
from clearml_server.database import Document, new_id, now
from clearml_server.queries import select
from clearml_server.refusals import missing

_FIELDS = (
    *("name", "uri", "comment", "framework", "design", "labels"),
    *("ready", "project", "parent", "task", "metadata"),
)


def _check(call: Call, body: Document) -> None:
    if "name" in body:
        named(body["name"], "model")
    for field in ("project", "task"):
        if body.get(field):
            call.database.require(field, body[field])


def _require(call: Call) -> Document:
    return call.database.require("model", call.body.get("model"))


@endpoint("models.create")
def create(call: Call) -> dict[str, Any]:
    """A new model, even where another has the same address: so does the real server."""
    for field in ("uri", "name"):
        if not call.body.get(field):
            raise missing(field)
    _check(call, call.body)
    document: Document = {"id": new_id(), "created": now()}
    document |= {"company": USER["company"], "user": USER["id"]}
    document |= {"labels": {}, "ready": True, "metadata": {}, "design": {}} | tags_of(call.body)
    document |= {key: call.body[key] for key in _FIELDS if call.body.get(key) is not None}
    return {"created": True, "id": call.database.put("model", document)["id"]}


@endpoint("models.get_by_id")
def get_by_id(call: Call) -> dict[str, Any]:
    return {"model": _require(call)}


@endpoint("models.get_all", "models.get_all_ex")
def get_all(call: Call) -> dict[str, Any]:
    return {"models": select(call.database.all("model"), call.body)}


@endpoint("models.edit", "models.update")
def edit(call: Call) -> dict[str, Any]:
    document = _require(call)
    _check(call, call.body)
    fields = {key: call.body[key] for key in _FIELDS if call.body.get(key) is not None}
    for key in ("tags", "system_tags"):
        if call.body.get(key) is not None:
            fields[key] = sorted(set(call.body[key]))
    call.database.put("model", document | fields)
    return {"updated": 1, "fields": fields}


@endpoint("models.set_ready")
def set_ready(call: Call) -> dict[str, Any]:
    call.database.put("model", _require(call) | {"ready": True})
    return {"updated": 1}


@endpoint("models.add_or_update_metadata")
def add_or_update_metadata(call: Call) -> dict[str, Any]:
    document = _require(call)
    if call.body.get("replace_metadata"):
        document["metadata"] = {}
    document["metadata"] |= {each["key"]: each for each in call.body["metadata"]}
    call.database.put("model", document)
    return {"updated": 1}


@endpoint("models.delete_metadata")
def delete_metadata(call: Call) -> dict[str, Any]:
    document = _require(call)
    for key in call.body["keys"]:
        document["metadata"].pop(key, None)
    call.database.put("model", document)
    return {"updated": 1}


@endpoint("models.delete")
def delete(call: Call) -> dict[str, Any]:
    document = _require(call)
    call.database.delete("model", document["id"])
    call.database.delete_events(document["id"])
    return {"deleted": True, "url": document["uri"]}


@endpoint("models.archive_many", "models.unarchive_many")
def archive_many(call: Call) -> dict[str, Any]:
    for each in call.body["ids"]:
        document = call.database.require("model", each)
        tags = set(document["system_tags"]) ^ {"archived"}
        call.database.put("model", document | {"system_tags": sorted(tags)})
    return {
        "succeeded": [{"id": each, "archived": True} for each in call.body["ids"]],
        "failed": [],
    }
