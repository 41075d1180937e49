"""A task's status: what may follow what, and what the web page's buttons do."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from clearml_server.api.endpoints import USER, Call, endpoint
from clearml_server.api.tasks import clean
from clearml_server.database import Document, now
from clearml_server.refusals import invalid_status

_FOLLOWS = {
    "created": {"queued", "in_progress"},
    "queued": {"created", "in_progress"},
    "in_progress": {"stopped", "failed", "created", "completed"},
    "stopped": {"closed", "created", "failed", "in_progress", "published", "completed"},
    "closed": {"created", "failed", "published", "stopped"},
    "failed": {"created", "stopped", "published"},
    "completed": {"published", "in_progress", "created"},
    "published": set(),
}
# How long a worker that said nothing still counts as running its task.
_WORKER_TIMEOUT = 600.0


def change(call: Call, task: Document, status: str, **fields: Any) -> dict[str, Any]:
    """Give a task another status, if it may have it or it is forced."""
    allowed = {task["status"], *_FOLLOWS[task["status"]]}
    if status not in allowed and not call.body.get("force"):
        ask = {"current_status": task["status"], "new_status": status}
        raise invalid_status("Invalid status change", **ask)
    reason = {key: call.body.get(key) or "" for key in ("status_reason", "status_message")}
    changed = {"status": status, "status_changed": now()} | reason | fields
    if status == "queued":
        changed["system_tags"] = [t for t in task["system_tags"] if t != "development"]
    task.update(changed)
    call.database.put("task", task)
    return {"updated": 1, "fields": changed}


def _task(call: Call) -> Document:
    return call.database.require("task", call.body.get("task"))


@endpoint("tasks.started")
def started(call: Call) -> dict[str, Any]:
    task = _task(call)
    answer = change(call, task, "in_progress", started=task.get("started") or now())
    return answer | {"started": 1}


@endpoint("tasks.completed")
def completed(call: Call) -> dict[str, Any]:
    answer = change(call, _task(call), "completed", completed=now())
    if call.body.get("publish"):
        change(call, _task(call), "published", published=now())
    return answer | {"published": int(bool(call.body.get("publish")))}


@endpoint("tasks.failed")
def failed(call: Call) -> dict[str, Any]:
    return change(call, _task(call), "failed", completed=now())


@endpoint("tasks.stopped")
def stopped(call: Call) -> dict[str, Any]:
    return change(call, _task(call), "stopped", completed=now())


@endpoint("tasks.close")
def close(call: Call) -> dict[str, Any]:
    return change(call, _task(call), "closed")


@endpoint("tasks.publish")
def publish(call: Call) -> dict[str, Any]:
    return change(call, _task(call), "published", published=now())


@endpoint("tasks.stop")
def stop(call: Call) -> dict[str, Any]:
    """Abort, as in the web page: at once, or where a worker runs the task by asking that."""
    task = _task(call)
    queued = task["status"] == "queued"
    if queued or "development" in task["system_tags"] or not _has_worker(task):
        if queued:
            remove_from_queues(call, task["id"])
        return change(call, task, "stopped", status_message=f"Stopped by {USER['name']}")
    return change(call, task, task["status"], status_message="stopping")


def _has_worker(task: Document) -> bool:
    reported = task.get("last_worker_report")
    if not task.get("last_worker") or not reported:
        return False
    return time.time() - datetime.fromisoformat(reported).timestamp() < _WORKER_TIMEOUT


@endpoint("tasks.reset")
def reset(call: Call) -> dict[str, Any]:
    task = _task(call)
    if task["status"] == "published" and not call.body.get("force"):
        raise invalid_status("", status=task["status"])
    removed = remove_from_queues(call, task["id"])
    models = clean(call, task)
    artifacts = task["execution"].get("artifacts") or ()
    task["execution"]["artifacts"] = [each for each in artifacts if each.get("mode") == "input"]
    task["execution"].pop("queue", None)
    task["models"]["output"] = []
    task |= {"last_metrics": {}, "last_iteration": 0, "runtime": {}}
    for key in ("started", "completed", "published", "last_worker", "last_worker_report"):
        task.pop(key, None)
    answer = change(call, task, "created", status_reason="reset", status_message="reset")
    return answer | {"deleted_models": models, "dequeued": {"removed": removed}}


def remove_from_queues(call: Call, task: str) -> int:
    """Take a task out of every queue it stands in."""
    removed = 0
    for queue in call.database.all("queue"):
        kept = [each for each in queue["entries"] if each["task"] != task]
        if len(kept) < len(queue["entries"]):
            removed += 1
            call.database.put("queue", queue | {"entries": kept})
    return removed
