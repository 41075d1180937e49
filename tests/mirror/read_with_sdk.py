"""Read tasks with clearml's own SDK, as one JSON object: `read_with_sdk.py TASK…`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from clearml import Task


def read(task: Task) -> dict[str, Any]:
    """What the SDK says of a task, by the name of the call that says it."""
    return {
        "name": task.name,
        "project": task.get_project_name(),
        "type": str(task.task_type),
        "tags": list(task.get_tags()),
        "parent": task.parent,
        "comment": task.comment,
        "status": task.get_status(),
        "status_reason": task.data.status_reason,
        "created": str(task.data.created),
        "started": str(task.data.started),
        "completed": str(task.data.completed),
        "last_iteration": task.get_last_iteration(),
        "parameters": task.get_parameters(),
        "parameters_as_dict": task.get_parameters_as_dict(cast=True),
        "configuration": dict(task.get_configuration_objects()),
        "script": _script(task),
        "runtime": dict(task.data.runtime or {}),
        "scalars": task.get_reported_scalars(),
        "times": task.get_all_reported_scalars(x_axis="timestamp"),
        "single_values": task.get_reported_single_values(),
        "plots": task.get_reported_plots(max_iterations=1000),
        "debug_samples": _debug_samples(task),
        "console": list(task.get_reported_console_output(number_of_reports=100_000)),
        "models": {kind: [_model(each) for each in models] for kind, models in _models(task)},
        "artifacts": {name: _artifact(each) for name, each in task.artifacts.items()},
    }


def _script(task: Task) -> dict[str, Any]:
    return dict(task.data.script.to_dict())


def _debug_samples(task: Task) -> list[dict[str, Any]]:
    response = task.session.send_request(
        "events", "debug_images", json={"metrics": [{"task": task.id}], "iters": 1000}
    )
    metrics = response.json()["data"]["metrics"]
    iterations = [each for metric in metrics for each in metric["iterations"]]
    return [event for each in iterations for event in each["events"]]


def _models(task: Task) -> list[tuple[str, Any]]:
    found = task.get_models()
    return [("input", found["input"]), ("output", found["output"])]


def _model(model: Any) -> dict[str, Any]:
    file = model.get_local_copy(raise_on_error=True)
    return {
        "name": model.name,
        "url": model.url,
        "framework": model.framework,
        "design": model.config_text,
        "metadata": model.get_all_metadata(),
        "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest(),
    }


def _artifact(artifact: Any) -> dict[str, Any]:
    file = Path(artifact.get_local_copy(extract_archive=False, raise_on_error=True))
    return {
        "type": artifact.type,
        "size": artifact.size,
        "hash": artifact.hash,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


if __name__ == "__main__":
    found = {task: read(Task.get_task(task)) for task in sys.argv[1:]}
    print(json.dumps(found, default=str))
