"""A stage in the midst of an epoch as plain data, and back.

What torch.load(weights_only=True) accepts: tensors on the CPU, numbers, strings, lists, dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from torch_lab.metric_states import Attributes, metric_state, on_cpu, parts_of, restore_metric
from torch_lab.modules.stages import Mean, Stage


def stage_state(stage: Stage, pristine: Attributes) -> dict[str, Any]:
    """What `stage` has gathered; `pristine` are its metrics' attributes when they were made."""
    return {
        "batches": stage.batches,
        "elements": stage.elements,
        "means": {name: [on_cpu(mean.total), mean.count] for name, mean in stage.means.items()},
        "buffer": [[on_cpu(y_pred), on_cpu(y)] for y_pred, y in stage.buffer],
        "metrics": {
            name: {
                path: metric_state(part, pristine[name][path]) for path, part in parts_of(metric)
            }
            for name, metric in stage.metrics.items()
        },
    }


def restore_stage(stage: Stage, state: Mapping[str, Any], device: torch.device) -> None:
    """Give a stage that was reset what `stage_state` found."""
    stage.batches = state["batches"]
    stage.elements = state["elements"]
    stage.resumed = stage.batches > 0
    for name, (total, count) in state["means"].items():
        stage.means[name] = Mean(None if total is None else total.to(device), count)
    stage.buffer = [(y_pred.to(device), y.to(device)) for y_pred, y in state["buffer"]]
    for name, metric in stage.metrics.items():
        parts = state["metrics"].get(name, {})
        for path, part in parts_of(metric):
            if path in parts:
                restore_metric(part, parts[path])
