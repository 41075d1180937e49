"""A model of 200 MB, saved a few times."""

from __future__ import annotations

from typing import Any

from benchmarks.models import SAVE_EVERY

hparams: dict[str, Any] = {
    "task": {"project_name": "benchmarks"},
    "checkpoint": {"every_n_steps": SAVE_EVERY},
    "trainer": {"init": {"max_epochs": 1, "accelerator": "cpu"}},
    "seed": 0,
}
