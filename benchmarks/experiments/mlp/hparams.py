"""One step of a tiny network, with everything around it that a run has."""

from __future__ import annotations

from typing import Any

hparams: dict[str, Any] = {
    "task": {"project_name": "benchmarks"},
    "trainer": {"init": {"max_epochs": 1, "accelerator": "cpu"}},
    "seed": 0,
    "config": {"batches": 500},
}
