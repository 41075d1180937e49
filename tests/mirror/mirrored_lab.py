"""The tiny project with a ClearML server configured, and the senders that its trainings leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from e2e.tiny_project import Lab, Outcome, Started
from helpers import wait_for
from torch_lab.mirror import state
from torch_lab.mirror.state import Mirror
from torch_lab.store.paths import RunDirectory
from zygote import Zygote


@dataclass(frozen=True)
class MirroredLab(Lab):
    """Commands run with this environment; what they say on stderr is told in the tests."""

    environment: Mapping[str, str] = field(default_factory=dict)

    def start_one(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Started:
        return super().start_one(*words, env={**self.environment, **(env or {})})

    def done(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Outcome:
        """A command that succeeds."""
        outcome = self.do(*words, env=env)
        assert outcome.status == 0, outcome
        return outcome

    def mirror(self, name: str) -> Mirror:
        """The mirror.json of a run; an empty one where there is none yet."""
        return state.read(RunDirectory(self.artifacts / name)) or Mirror()

    def senders(self) -> list[int]:
        """The sender processes of this project that live."""
        return [int(each.name) for each in Path("/proc").glob("[0-9]*") if self._is_sender(each)]

    def _is_sender(self, process: Path) -> bool:
        with suppress(OSError):
            words = (process / "cmdline").read_bytes()
            return b"--follow" in words and (process / "cwd").readlink() == self.root.resolve()
        return False  # it has ended meanwhile

    def end_senders(self, signum: int = signal.SIGKILL) -> None:
        for pid in self.senders():
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
        wait_for(lambda: not self.senders())


@contextmanager
def mirrored(root: Path, zygote: Zygote, environment: Mapping[str, str]) -> Iterator[MirroredLab]:
    """A copy of the tiny project; no sender outlives the block."""
    home = root.parent / "home"
    home.mkdir(exist_ok=True)
    quiet = {"HOME": str(home), "TORCH_LAB_OFFLINE": "false", "TORCH_LAB_SYNC_PATIENCE": "5"}
    copied = Lab.copied(root, zygote)
    made = MirroredLab(copied.root, zygote, {**quiet, **environment})
    try:
        yield made
    finally:
        made.end_senders()
