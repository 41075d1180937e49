"""A command for a pool, under way and ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch_lab.store.paths import RunDirectory
from torch_lab.tasks.pool.child import announced
from torch_lab.tasks.pool.slots import Slot


@dataclass(frozen=True)
class Job:
    """A command to run: `argv` is what follows `torch-lab`, as `("train", "hparams.py")`.

    What it prints goes to `log`, a file that nothing else writes to.
    """

    argv: tuple[str, ...]
    log: Path
    label: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    on_end: Callable[[Ended], None] | None = None

    @property
    def announcement(self) -> Path:
        """Where its process says which run it works on."""
        return self.log.with_name(f"{self.log.name}.run")

    @property
    def run(self) -> RunDirectory | None:
        """The run that it works on, once there is one."""
        return announced(self.announcement)


@dataclass
class Running:
    """A job under way; its process has a number once it has begun."""

    job: Job
    slot: Slot
    kills: int  # how many processes the system had killed for want of memory when it began
    pid: int | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Ended:
    """How a job ended: `status` is its process's, -N for signal N."""

    job: Job
    slot: Slot
    status: int
    seconds: float
    out_of_memory: bool = False

    @property
    def exit_status(self) -> int:
        """The status as a shell tells it: 128 + N for signal N."""
        return 128 - self.status if self.status < 0 else self.status

    @property
    def run(self) -> RunDirectory | None:
        """The run that it worked on, if it came that far."""
        return self.job.run

    @property
    def said(self) -> str:
        """All that it printed."""
        try:
            return self.job.log.read_text(errors="replace")
        except OSError:
            return ""
