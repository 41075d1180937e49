"""Queues, and the workers that take tasks from them."""

from __future__ import annotations

from typing import Any

from clearml_server.api.checks import named, tags_of
from clearml_server.api.endpoints import Call, endpoint
from clearml_server.api.statuses import change, remove_from_queues
from clearml_server.database import Document, new_id, now
from clearml_server.queries import select
from clearml_server.refusals import Refused, invalid_id, invalid_status


def _make(call: Call, name: str) -> Document:
    named(name, "queue")
    queue = {"id": new_id(), "name": name, "created": now(), "entries": []} | tags_of(call.body)
    return call.database.put("queue", queue)


def _by_name(call: Call, name: str) -> Document | None:
    return next((each for each in call.database.all("queue") if each["name"] == name), None)


@endpoint("queues.create")
def create(call: Call) -> dict[str, Any]:
    if _by_name(call, call.body["name"]):
        raise Refused(400, 801, "Value combination already exists (unique field): name")
    return {"id": _make(call, call.body["name"])["id"]}


@endpoint("queues.get_all", "queues.get_all_ex")
def get_all(call: Call) -> dict[str, Any]:
    return {"queues": select(call.database.all("queue"), call.body)}


@endpoint("queues.get_by_id")
def get_by_id(call: Call) -> dict[str, Any]:
    return {"queue": call.database.require("queue", call.body.get("queue"))}


@endpoint("queues.get_default")
def get_default(call: Call) -> dict[str, Any]:
    queue = next(q for q in call.database.all("queue") if "default" in q["system_tags"])
    return {"id": queue["id"], "name": queue["name"]}


@endpoint("queues.get_num_entries")
def get_num_entries(call: Call) -> dict[str, Any]:
    return {"num": len(call.database.require("queue", call.body.get("queue"))["entries"])}


@endpoint("queues.get_next_task")
def get_next_task(call: Call) -> dict[str, Any]:
    queue = call.database.require("queue", call.body.get("queue"))
    if not queue["entries"]:
        return {}
    entry = queue["entries"].pop(0)
    call.database.put("queue", queue)
    if not call.body.get("get_task_info"):
        return {"entry": entry}
    task = call.database.get("task", entry["task"]) or {}
    return {"entry": entry, "task_info": {"company": task.get("company"), "user": task.get("user")}}


@endpoint("tasks.enqueue")
def enqueue(call: Call) -> dict[str, Any]:
    task = call.database.require("task", call.body.get("task"))
    queue = _wanted(call)
    if task["status"] == "queued" and not call.body.get("force"):
        raise invalid_status("Task already in requested status", current_status="queued")
    if any(each["task"] == task["id"] for each in queue["entries"]):
        raise Refused(400, 706, f"Task already in queue: task={task['id']}")
    task["execution"]["queue"] = queue["id"]
    answer = change(call, task, "queued")
    queue["entries"].append({"task": task["id"], "added": now()})
    call.database.put("queue", queue)
    return answer | {"queued": 1}


def _wanted(call: Call) -> Document:
    if name := call.body.get("queue_name"):
        return _by_name(call, name) or _make(call, name)
    if queue := call.body.get("queue"):
        return call.database.require("queue", queue)
    return call.database.require("queue", get_default(call)["id"])


@endpoint("tasks.dequeue")
def dequeue(call: Call) -> dict[str, Any]:
    task = call.database.require("task", call.body.get("task"))
    if task["status"] != "queued":
        raise invalid_status("", expected="queued", status=task["status"])
    removed = remove_from_queues(call, task["id"])
    return change(call, task, call.body.get("new_status") or "created") | {"dequeued": removed}


@endpoint("workers.register")
def register(call: Call) -> dict[str, Any]:
    name = call.body["worker"]
    for queue in call.body.get("queues") or ():
        call.database.require("queue", queue)
    kept = {key: call.body.get(key) for key in ("timeout", "queues", "tags")}
    call.database.put("worker", {"id": name, "name": name, "register_time": now()} | kept)
    return {}


@endpoint("workers.unregister")
def unregister(call: Call) -> dict[str, Any]:
    if call.database.get("worker", call.body["worker"]) is None:
        raise invalid_id("worker", call.body["worker"])
    call.database.delete("worker", call.body["worker"])
    return {}


@endpoint("workers.status_report")
def status_report(call: Call) -> dict[str, Any]:
    name = call.body["worker"]
    worker = call.database.get("worker", name) or {"id": name, "name": name}
    call.database.put("worker", worker | {key: call.body.get(key) for key in ("task", "queues")})
    if call.body.get("task"):
        task = call.database.require("task", call.body["task"])
        call.database.put("task", task | {"last_worker": name, "last_worker_report": now()})
    return {}


@endpoint("workers.get_all")
def get_workers(call: Call) -> dict[str, Any]:
    return {"workers": call.database.all("worker")}
