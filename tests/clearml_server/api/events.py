"""Events: scalars, plots, images and log lines of tasks and models."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from clearml_server.api.endpoints import Call, endpoint
from clearml_server.database import Document, new_id
from clearml_server.refusals import Refused

_TYPES = ("training_stats_scalar", "training_stats_vector", "training_debug_image", "plot", "log")
# What the SDK reports a single value under, instead of an iteration.
SINGLE_VALUE = -(2**31)
_KEY_FIELDS = ("task", "iter", "metric", "variant", "key")


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _key(event: Document) -> str:
    """Log lines are never taken for one another; of the others the later replaces the earlier."""
    if event["type"] == "log":
        return new_id()
    parts = [event["type"], *(str(event[key]) for key in _KEY_FIELDS if key in event)]
    return _digest("-".join(parts))


def _problem(call: Call, event: Document, owners: dict[str, Document]) -> str | None:
    if event.get("type") is None:
        return "Event must have a 'type' field"
    if event["type"] not in _TYPES:
        return f"Invalid event type {event['type']}"
    kind = "model" if event.get("model_event") else "task"
    owner = str(event.get("task"))
    if owner not in owners:
        found = call.database.get(kind, owner)
        if found is None or found.get("status") == "published":
            return f"Invalid {kind} id {owner}"
        owners[owner] = found
    return None


def _row(event: Document) -> tuple[Any, ...]:
    event["metric"], event["variant"] = event.get("metric") or "", event.get("variant") or ""
    event.setdefault("timestamp", int(time.time() * 1000))
    value = event.get("value")
    number = value if isinstance(value, (int, float)) else None
    where = (event["task"], event["type"], event["metric"], event["variant"])
    when = (event.get("iter") or 0, int(event["timestamp"]))
    return (_key(event), *where, *when, number, json.dumps(event))


@endpoint("events.add_batch")
def add_batch(call: Call) -> dict[str, Any]:
    if not call.batch:
        raise Refused(400, 17, "Batch request contains no items")
    owners: dict[str, Document] = {}
    problems: Counter[str] = Counter()
    good = []
    for event in call.batch:
        if problem := _problem(call, event, owners):
            problems[problem] += 1
        else:
            good.append(event)
    if not good:
        said = ", ".join(f"{problem}={times}" for problem, times in problems.items())
        raise Refused(400, 131, f"Events not added: {said}")
    call.database.add_events([_row(event) for event in good])
    for owner in owners.values():
        _summarize(owner, [event for event in good if event["task"] == owner["id"]])
        call.database.put("task" if "status" in owner else "model", owner)
    return {"added": len(good), "errors": problems.total(), "errors_info": dict(problems)}


@endpoint("events.add")
def add(call: Call) -> dict[str, Any]:
    return add_batch(Call(call.database, {}, call.worker, [call.body]))


def _summarize(owner: Document, events: Sequence[Document]) -> None:
    """Keep last, least and greatest values with the task, as its page shows them."""
    last = owner.setdefault("last_metrics", {})
    for event in events:
        iteration, value = event.get("iter") or 0, event.get("value")
        owner["last_iteration"] = max(owner.get("last_iteration") or 0, iteration)
        if event["type"] != "training_stats_scalar" or value is None:
            continue
        series = last.setdefault(_digest(event["metric"]), {})
        known = series.setdefault(_digest(event["variant"]), {"iter": iteration, "count": 0})
        known |= {"metric": event["metric"], "variant": event["variant"]}
        known["count"] += 1
        if iteration >= known["iter"]:
            known |= {"value": value, "iter": iteration, "timestamp": event["timestamp"]}
        for name, better in (("min_value", min), ("max_value", max)):
            if name not in known or better(value, known[name]) != known[name]:
                known |= {name: value, f"{name}_iteration": iteration}


def _known(call: Call) -> str:
    kind = "model" if call.body.get("model_events") else "task"
    return str(call.database.require(kind, call.body.get("task"))["id"])


def _wanted(event: Document, metrics: Any) -> bool:
    """Whether an event is of the metrics, and their variants, that were asked for."""
    if not metrics:
        return True
    for each in metrics:
        if each["metric"] == event["metric"]:
            variants = each.get("variants")
            return not variants or event["variant"] in variants
    return False


@endpoint("events.get_task_log")
def get_task_log(call: Call) -> dict[str, Any]:
    """A page of log lines, before a time or after it; lines of one time are never parted."""
    body = call.body
    found = call.database.events(_known(call), "log", "timestamp, number")
    total, earlier = len(found), body.get("navigate_earlier", True)
    if earlier:
        found.reverse()
    if (start := body.get("from_timestamp")) is not None:
        sign = -1 if earlier else 1
        found = [each for each in found if sign * (each["timestamp"] - start) > 0]
    size = body.get("batch_size") or 500
    page = found[:size]
    if page:
        same = page[-1]["timestamp"]
        page += [each for each in found[size:] if each["timestamp"] == same]
    if body.get("order") == ("asc" if earlier else "desc"):
        page.reverse()
    return {"events": page, "returned": len(page), "total": total}


@endpoint("events.get_task_events")
def get_task_events(call: Call) -> dict[str, Any]:
    """A page of a task's events of a type; the scroll id says where the next one begins."""
    found = call.database.events(_known(call), call.body.get("event_type"))
    kept = [each for each in found if _wanted(each, call.body.get("metrics"))]
    start = int(call.body.get("scroll_id") or 0)
    page = kept[start : start + (call.body.get("batch_size") or 500)]
    scroll = str(start + len(page))
    return {"events": page, "returned": len(page), "total": len(kept), "scroll_id": scroll}


@endpoint("events.get_task_plots")
def get_task_plots(call: Call) -> dict[str, Any]:
    """The newest plots of each metric and variant."""
    found = call.database.events(_known(call), "plot")
    kept: dict[tuple[str, str], list[Document]] = {}
    for each in found:
        kept.setdefault((each["metric"], each["variant"]), []).append(each)
    each_of = call.body.get("iters") or 1
    plots = [event for series in kept.values() for event in series[::-1][:each_of]]
    if call.body.get("scroll_id"):
        plots = []
    return {"plots": plots, "returned": len(plots), "total": len(plots), "scroll_id": new_id()}


@endpoint("events.debug_images")
def debug_images(call: Call) -> dict[str, Any]:
    """The newest iterations' images; the scroll id says where the earlier ones begin."""
    start, size = int(call.body.get("scroll_id") or 0), call.body.get("iters") or 1
    answers = []
    for asked in call.body["metrics"]:
        task = call.database.require("task", asked["task"])["id"]
        found = call.database.events(task, "training_debug_image")
        kept = [each for each in found if asked.get("metric") in (None, each["metric"])]
        iterations = sorted({each["iter"] for each in kept}, reverse=True)
        pages = [
            {"iter": at, "events": [each for each in kept if each["iter"] == at]}
            for at in iterations[start : start + size]
        ]
        answers.append({"task": task, "iterations": pages})
    return {"metrics": answers, "scroll_id": str(start + size)}


@endpoint("events.get_task_metrics")
def get_task_metrics(call: Call) -> dict[str, Any]:
    answers = []
    for task in call.body["tasks"]:
        found = call.database.events(task, call.body.get("event_type"))
        metrics = sorted({each["metric"] for each in found})
        answers.append({"task": task, "metrics": metrics})
    return {"metrics": answers}


@endpoint("events.scalar_metrics_iter_histogram")
def scalar_histogram(call: Call) -> dict[str, Any]:
    """Every value of each series (the real server averages where there are very many)."""
    answer: dict[str, dict[str, Any]] = {}
    by_time = call.body.get("key") in ("timestamp", "iso_time")
    for metric, variant, iteration, value, timestamp in call.database.scalars(_known(call)):
        if iteration == SINGLE_VALUE:
            continue
        new = {"name": variant, "x": [], "y": []}
        series = answer.setdefault(metric, {}).setdefault(variant, new)
        series["x"].append(timestamp if by_time else iteration)
        series["y"].append(value)
    return answer


@endpoint("events.get_task_single_value_metrics")
def single_values(call: Call) -> dict[str, Any]:
    answers = []
    for task in call.body["tasks"]:
        values = [
            {"metric": metric, "variant": variant, "value": value, "timestamp": timestamp}
            for metric, variant, iteration, value, timestamp in call.database.scalars(task)
            if iteration == SINGLE_VALUE
        ]
        answers.append({"task": task, "values": values})
    return {"tasks": answers}


@endpoint("events.delete_for_task")
def delete_for_task(call: Call) -> dict[str, Any]:
    task = call.database.require("task", call.body.get("task"))
    if task["status"] == "published" and not call.body.get("allow_locked"):
        raise Refused(400, 101, f"Invalid task id: id={task['id']}")
    call.database.delete_events(task["id"])
    call.database.put("task", task | {"last_metrics": {}, "last_iteration": 0})
    return {"deleted": True}
