"""Tasks: made, read, edited, copied, removed."""

from __future__ import annotations

import copy
from typing import Any

from clearml_server.api.checks import (
    check_artifact,
    check_configuration,
    check_hyperparams,
    check_parameter,
    check_type,
    named,
    tags_of,
    updatable,
)
from clearml_server.api.endpoints import USER, Call, endpoint
from clearml_server.database import Database, Document, new_id, now
from clearml_server.queries import select
from clearml_server.refusals import invalid_status, missing

_FIELDS = ("name", "type", "comment", "parent", "project", "container", "runtime")
_WHOLE = ("hyperparams", "configuration")
# Documents of their own in the database: edited field by field, not replaced.
_MERGED = ("execution", "script", "models")
_ALWAYS_EDITABLE = ("name", "comment", "project", "tags", "system_tags", "status_message")


def _blank() -> Document:
    return {
        "id": new_id(),
        "status": "created",
        "status_reason": "",
        "status_message": "",
        "status_changed": now(),
        "created": now(),
        "company": USER["company"],
        "user": USER["id"],
        "hyperparams": {},
        "configuration": {},
        "runtime": {},
        "container": {},
        "execution": {"artifacts": []},
        "script": {"binary": "python", "repository": "", "entry_point": ""},
        "output": {},
        "models": {"input": [], "output": []},
        "last_metrics": {},
        "last_iteration": 0,
    } | tags_of({})


def _check(database: Database, body: Document) -> None:
    if "name" in body:
        named(body["name"], "task")
    if "type" in body:
        check_type(body["type"])
    for field, kind in (("project", "project"), ("parent", "task")):
        if body.get(field):
            database.require(kind, body[field])
    check_hyperparams(body.get("hyperparams") or {})
    check_configuration(body.get("configuration") or {})
    for artifact in (body.get("execution") or {}).get("artifacts") or ():
        check_artifact(artifact)


def _changed(document: Document, body: Document) -> Document:
    """The fields that a request sets, as they are then."""
    fields = {key: body[key] for key in (*_FIELDS, *_WHOLE) if body.get(key) is not None}
    for key in _MERGED:
        if body.get(key) is not None:
            fields[key] = document[key] | body[key]
    for key in ("tags", "system_tags"):
        if body.get(key) is not None:
            fields[key] = sorted(set(body[key]))
    if body.get("output_dest") is not None:
        fields["output"] = document["output"] | {"destination": body["output_dest"]}
    for artifact in fields.get("execution", {}).get("artifacts") or ():
        artifact.setdefault("mode", "output")
    return fields


@endpoint("tasks.create")
def create(call: Call) -> dict[str, Any]:
    for field in ("name", "type"):
        if call.body.get(field) is None:
            raise missing(field)
    _check(call.database, call.body)
    document = _blank()
    return {"id": call.database.put("task", document | _changed(document, call.body))["id"]}


@endpoint("tasks.validate")
def validate(call: Call) -> dict[str, Any]:
    _check(call.database, call.body)
    return {}


@endpoint("tasks.get_by_id")
def get_by_id(call: Call) -> dict[str, Any]:
    return {"task": call.database.require("task", call.body.get("task"))}


@endpoint("tasks.get_all", "tasks.get_all_ex")
def get_all(call: Call) -> dict[str, Any]:
    return {"tasks": select(call.database.all("task"), call.body)}


@endpoint("tasks.edit")
def edit(call: Call) -> dict[str, Any]:
    document = call.database.require("task", call.body.get("task"))
    if not call.body.get("force") and document["status"] != "created":
        raise invalid_status("", expected="created", status=document["status"])
    _check(call.database, call.body)
    fields = _changed(document, call.body)
    call.database.put("task", document | fields)
    return {"updated": 1, "fields": fields}


@endpoint("tasks.update")
def update(call: Call) -> dict[str, Any]:
    document = call.database.require("task", call.body.get("task"))
    fields = {key: call.body[key] for key in _ALWAYS_EDITABLE if key in call.body}
    _check(call.database, fields)
    call.database.put("task", document | fields)
    return {"updated": 1, "fields": fields}


@endpoint("tasks.ping")
def ping(call: Call) -> dict[str, Any]:
    if document := call.database.get("task", str(call.body.get("task"))):
        call.database.put("task", document)
    return {}


@endpoint("tasks.set_requirements")
def set_requirements(call: Call) -> dict[str, Any]:
    document = call.database.require("task", call.body.get("task"))
    document["script"]["requirements"] = call.body["requirements"]
    call.database.put("task", document)
    return {"updated": 1, "fields": {"script.requirements": call.body["requirements"]}}


@endpoint("tasks.get_hyper_params")
def get_hyper_params(call: Call) -> dict[str, Any]:
    found = [call.database.require("task", each) for each in call.body["tasks"]]
    return {"params": [{"task": each["id"], "hyperparams": _parameters(each)} for each in found]}


def _parameters(task: Document) -> list[Document]:
    return [each for section in task["hyperparams"].values() for each in section.values()]


@endpoint("tasks.edit_hyper_params")
def edit_hyper_params(call: Call) -> dict[str, Any]:
    given = call.body["hyperparams"]
    for each in given:
        check_parameter(each, "hyperparams", ("section", "name"))
    document = _parameters_editable(call, given)
    sections = document["hyperparams"]
    replaced = call.body.get("replace_hyperparams", "none")
    if replaced == "all":
        sections.clear()
    elif replaced == "section":
        for each in given:
            sections.pop(each["section"], None)
    for each in given:
        sections.setdefault(each["section"], {})[each["name"]] = each
    call.database.put("task", document)
    return {"updated": 1}


@endpoint("tasks.delete_hyper_params")
def delete_hyper_params(call: Call) -> dict[str, Any]:
    document = _parameters_editable(call, call.body["hyperparams"])
    for each in call.body["hyperparams"]:
        if each.get("name"):
            document["hyperparams"].get(each["section"], {}).pop(each["name"], None)
        else:
            document["hyperparams"].pop(each["section"], None)
    call.database.put("task", document)
    return {"deleted": 1}


def _parameters_editable(call: Call, given: list[Document]) -> Document:
    if all(each.get("section") == "properties" for each in given):
        return call.database.require("task", call.body.get("task"))
    return updatable(call.database, call.body)


@endpoint("tasks.get_configurations")
def get_configurations(call: Call) -> dict[str, Any]:
    names = call.body.get("names")
    found = []
    for task in call.body["tasks"]:
        values = call.database.require("task", task)["configuration"].values()
        kept = [each for each in values if not names or each["name"] in names]
        found.append({"task": task, "configuration": kept})
    return {"configurations": found}


@endpoint("tasks.get_configuration_names")
def get_configuration_names(call: Call) -> dict[str, Any]:
    found = [call.database.require("task", each) for each in call.body["tasks"]]
    return {
        "configurations": [
            {"task": each["id"], "names": sorted(each["configuration"])} for each in found
        ]
    }


@endpoint("tasks.edit_configuration")
def edit_configuration(call: Call) -> dict[str, Any]:
    given = call.body["configuration"]
    for each in given:
        check_parameter(each, "configuration", ("name",))
    document = updatable(call.database, call.body)
    if call.body.get("replace_configuration"):
        document["configuration"].clear()
    document["configuration"] |= {each["name"]: each for each in given}
    call.database.put("task", document)
    return {"updated": 1}


@endpoint("tasks.delete_configuration")
def delete_configuration(call: Call) -> dict[str, Any]:
    document = updatable(call.database, call.body)
    for name in call.body["configuration"]:
        document["configuration"].pop(name, None)
    call.database.put("task", document)
    return {"deleted": 1}


@endpoint("tasks.add_or_update_artifacts")
def add_or_update_artifacts(call: Call) -> dict[str, Any]:
    document = updatable(call.database, call.body, force=True)
    kept = {_artifact_key(each): each for each in document["execution"].get("artifacts") or ()}
    for each in call.body["artifacts"]:
        check_artifact(each)
        kept[_artifact_key(each)] = {"mode": "output", **each}
    document["execution"]["artifacts"] = list(kept.values())
    call.database.put("task", document)
    return {"updated": 1}


@endpoint("tasks.delete_artifacts")
def delete_artifacts(call: Call) -> dict[str, Any]:
    document = updatable(call.database, call.body, force=True)
    gone = {_artifact_key(each) for each in call.body["artifacts"]}
    kept = [each for each in document["execution"]["artifacts"] if _artifact_key(each) not in gone]
    document["execution"]["artifacts"] = kept
    call.database.put("task", document)
    return {"deleted": 1}


def _artifact_key(artifact: Document) -> tuple[str, str]:
    return artifact["key"], artifact.get("mode") or "output"


@endpoint("tasks.add_or_update_model")
def add_or_update_model(call: Call) -> dict[str, Any]:
    document = updatable(call.database, call.body, force=True)
    for field in ("name", "model", "type"):
        if not call.body.get(field):
            raise missing(field)
    item = {"name": call.body["name"], "model": call.body["model"], "updated": now()}
    items = document["models"].setdefault(call.body["type"], [])
    at = next((i for i, each in enumerate(items) if each["name"] == item["name"]), len(items))
    items[at : at + 1] = [item]
    document["last_iteration"] = max(document["last_iteration"], call.body.get("iteration") or 0)
    call.database.put("task", document)
    return {"updated": 1}


@endpoint("tasks.delete_models")
def delete_models(call: Call) -> dict[str, Any]:
    document = updatable(call.database, call.body, force=True)
    for gone in call.body["models"]:
        kept = [each for each in document["models"][gone["type"]] if each["name"] != gone["name"]]
        document["models"][gone["type"]] = kept
    call.database.put("task", document)
    return {"updated": 1}


@endpoint("tasks.clone")
def clone(call: Call) -> dict[str, Any]:
    source = call.database.require("task", call.body.get("task"))
    document = _blank()
    for key in (*_FIELDS, *_WHOLE, "tags", "system_tags", "script"):
        if key in source:
            document[key] = copy.deepcopy(call.body.get(f"new_task_{key}") or source[key])
    document["runtime"] = {}
    artifacts = source["execution"].get("artifacts") or ()
    kept = [each for each in artifacts if each.get("mode") == "input"]
    document["execution"] = source["execution"] | {"artifacts": kept}
    document["execution"].pop("queue", None)
    document["models"]["input"] = copy.deepcopy(source["models"]["input"])
    _check(call.database, document)
    return {"id": call.database.put("task", document)["id"]}


@endpoint("tasks.delete")
def delete(call: Call) -> dict[str, Any]:
    document = call.database.require("task", call.body.get("task"))
    archived = "archived" in document["system_tags"]
    if document["status"] != "created" and not archived and not call.body.get("force"):
        raise invalid_status("due to status, use force=True", current=document["status"])
    models = clean(call, document)
    call.database.delete("task", document["id"])
    counts = {"updated_children": 0, "updated_models": 0, "deleted_models": models}
    return {"deleted": True, "urls": {}} | counts


def clean(call: Call, task: Document) -> int:
    """Remove what belongs to a task: its events, and its models that are still drafts."""
    call.database.delete_events(task["id"])
    drafts = [
        each
        for each in call.database.all("model")
        if each.get("task") == task["id"] and not each["ready"]
    ]
    if call.body.get("delete_output_models", True):
        for each in drafts:
            call.database.delete("model", each["id"])
    return len(drafts)


def _tag_all(call: Call, ids: list[str], *, archived: bool) -> int:
    for each in ids:
        document = call.database.require("task", each)
        tags = set(document["system_tags"]) - {"archived"}
        document["system_tags"] = sorted(tags | ({"archived"} if archived else set()))
        call.database.put("task", document)
    return len(ids)


@endpoint("tasks.archive")
def archive(call: Call) -> dict[str, Any]:
    return {"archived": _tag_all(call, call.body["tasks"], archived=True)}


@endpoint("tasks.archive_many")
def archive_many(call: Call) -> dict[str, Any]:
    _tag_all(call, call.body["ids"], archived=True)
    return {
        "succeeded": [{"id": each, "archived": True} for each in call.body["ids"]],
        "failed": [],
    }


@endpoint("tasks.unarchive_many")
def unarchive_many(call: Call) -> dict[str, Any]:
    _tag_all(call, call.body["ids"], archived=False)
    return {
        "succeeded": [{"id": each, "unarchived": True} for each in call.body["ids"]],
        "failed": [],
    }
