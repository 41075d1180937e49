"""What the command line asks of a task, as plain values: made without importing the task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_lab.engine.drill import Drill


@dataclass(frozen=True)
class TrainOptions:
    """One call of `train`: a script, or a run to go on with, or "auto" with a script."""

    script: Path | None = None
    resume: str | None = None
    dev_run: int | float | None = None
    gpus: tuple[int, ...] | None = None
    overrides: tuple[str, ...] = ()
    force: bool = False
    trust: bool = False
    offline: bool = False
    queue: str | None = None
    drill: Drill | None = None  # not for the command line


@dataclass(frozen=True)
class InferOptions:
    """One call of `infer`: a script and the arguments its `infer_config` gets."""

    script: Path
    args: tuple[str, ...] = ()
    checkpoint: str | None = None
    gpus: tuple[int, ...] | None = None
    overrides: tuple[str, ...] = ()
    trust: bool = False
