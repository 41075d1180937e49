"""A whole training run: eight epochs of a hundred batches, validated after each."""

from __future__ import annotations

from typing import Any

from benchmarks.models import EPOCHS

hparams: dict[str, Any] = {
    "task": {"project_name": "benchmarks"},
    "trainer": {"init": {"max_epochs": EPOCHS, "accelerator": "cpu"}},
    "seed": 0,
}
