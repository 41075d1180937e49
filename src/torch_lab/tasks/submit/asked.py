"""What the command line asks of `lab submit`, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_lab.tasks.options import TrainOptions


@dataclass(frozen=True)
class Asked:
    """One call: scripts or a run to go on with, sbatch's options as they were typed."""

    scripts: tuple[Path, ...] = ()
    resume: str | None = None
    dev_run: int | float | None = None
    overrides: tuple[str, ...] = ()
    trust: bool = False
    offline: bool = False
    array: bool = False
    dry_run: bool = False
    typed: Mapping[str, Any] = field(default_factory=dict)

    def of_script(self, script: Path | None, *more: str) -> TrainOptions:
        """What `train` is asked for one of the scripts."""
        return TrainOptions(
            script=script,
            resume=self.resume,
            dev_run=self.dev_run,
            overrides=(*self.overrides, *more),
            trust=self.trust,
            offline=self.offline,
        )
