"""What a checked set of hyperparameters looks like."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch_lab.utils.copying import plain_copy


@dataclass(frozen=True)
class CheckpointSection:
    """Where a run starts from, and when it saves (None: the project's settings decide)."""

    checkpoint_task_id: str | None = None
    checkpoint_name: str = "last"
    weights_only: bool = False
    strict: bool = True
    every_n_steps: int | None = None
    every_minutes: float | None = None
    keep: int | None = None


@dataclass(frozen=True)
class TrainerSection:
    """Keyword arguments of Lightning's Trainer and of its methods; `validate` None: don't."""

    init: dict[str, Any]
    fit: dict[str, Any]
    validate: dict[str, Any] | None
    predict: dict[str, Any]


@dataclass(frozen=True)
class Hparams:
    """The hyperparameters of one run; `notices` names what was accepted and has no effect.

    `config` is as it was given; `resolved` has the defaults of its type too, where it has one.
    """

    path: Path | None
    task: dict[str, Any]
    checkpoint: CheckpointSection
    trainer: TrainerSection
    seed: int | None
    config: dict[str, Any]
    notices: tuple[str, ...] = ()
    resolved: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The plain dict with every default filled in, a copy; it passes the check again."""
        trainer = {field.name: getattr(self.trainer, field.name) for field in fields(self.trainer)}
        copied: dict[str, Any] = plain_copy(
            {
                "task": self.task,
                "checkpoint": asdict(self.checkpoint),
                "trainer": trainer,
                "seed": self.seed,
                "config": self.config if self.resolved is None else self.resolved,
            }
        )
        return copied
