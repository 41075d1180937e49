"""What `lab check --drill` asks of one start of a run: to be watched, and to be killed.

Plain values, made without importing torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Moment = Literal["boundary", "step", "validation"]


@dataclass(frozen=True)
class Cut:
    """A SIGKILL at a `moment` that follows the boundary of `batch`, at which a save is made."""

    batch: int
    moment: Moment


@dataclass(frozen=True)
class Drill:
    """Where fingerprints of the state are written, and where the process is killed, if it is.

    `limited`: whether hparams themselves say how long training is, and not the drill alone.
    """

    file: Path
    cut: Cut | None = None
    limited: bool = True

    def as_text(self) -> str:
        """For an environment variable: processes of other ranks are told by it."""
        return json.dumps(asdict(self) | {"file": str(self.file)})

    @classmethod
    def from_text(cls, text: str) -> Drill:
        """The reverse of `as_text`."""
        values = json.loads(text)
        cut = values["cut"]
        return cls(Path(values["file"]), cut and Cut(**cut), values["limited"])
