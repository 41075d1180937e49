"""Logistic regression: the least that a network has to beat."""

from __future__ import annotations

from typing import Any

hparams: dict[str, Any] = {
    "task": {"project_name": "digits"},
    "seed": 0,
    "config": {
        "data": "data/processed/digits",
        "batch_size": 256,
        "num_workers": 0,
        "model": "logistic",
        # What the class of that model is called with.
        "arguments": {"C": 0.1, "max_iter": 300},
    },
}
