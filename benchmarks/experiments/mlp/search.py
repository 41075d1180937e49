"""A sweep over the tiny network."""

from __future__ import annotations

from typing import Any

from torch_lab.hparams import extend

hparams = extend("hparams.py", {})

SWEEP = {"metric": "loss/train"}


def sweep(trial: Any) -> dict[str, Any]:
    """Of no matter which: what goes on around a trial is measured."""
    return {"seed": trial.suggest_int("seed", 0, 1000)}
