"""An estimator that is fitted at once; with `--set estimator=rounds` one that has rounds."""

from __future__ import annotations

from typing import Any

hparams: dict[str, Any] = {
    "task": {"project_name": "benchmarks"},
    "seed": 0,
    "config": {"estimator": "forest"},
}
