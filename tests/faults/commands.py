"""The exact project, and commands in it as if on several machines, or on ones that fail."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers import Project, StoredRun, wait_for
from zygote import Zygote

EXACT = Path(__file__).parent.parent / "projects" / "exact"
SCRIPT = "exact_project/experiments/00_exact/hparams.py"
FAULTS = Path(__file__).parent / "file_faults.py"
RUN = "00_exact-hparams_v0"
SOON = {"TORCH_LAB_LOST_AFTER": "2"}


@dataclass
class Commands:
    """The exact project, and commands in it as if on several machines."""

    project: Project
    zygote: Zygote
    under_way: list[int] = field(default_factory=list)

    @property
    def run(self) -> StoredRun:
        return self.project.run(RUN)

    def start(
        self, *words: str, host: str = "", faults: Sequence[Mapping[str, Any]] = (), **env: str
    ) -> int:
        """A command under way; what it says goes to `said`."""
        env = SOON | env | ({"HOST_OF_THIS_PROCESS": host} if host else {})
        order = json.dumps([*faults])
        log = self.project.root / f"said-{len(self.under_way)}"
        pid = self.zygote.start_script(
            FAULTS, order, *words, cwd=self.project.root, log=log, env=env
        )
        self.under_way.append(pid)
        return pid

    def said(self, pid: int) -> str:
        return (self.project.root / f"said-{self.under_way.index(pid)}").read_text()

    def ended(self, pid: int, status: int) -> str:
        found = self.zygote.wait(pid)
        said = self.said(pid)
        self.under_way[self.under_way.index(pid)] = 0
        assert found == status, said
        return said

    def saved(self, batch: int) -> None:
        wait_for((self.run.path / "checkpoints" / f"step-{batch}.ckpt").exists)

    def files(self) -> dict[str, bytes]:
        found = [path for path in self.run.path.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.run.path)): path.read_bytes() for path in found}

    def close(self) -> None:
        for pid in filter(None, self.under_way):
            os.killpg(pid, signal.SIGKILL)
            self.zygote.wait(pid)


def assert_as_whole(run: StoredRun, whole: StoredRun) -> None:
    assert run.record["status"] == "completed"
    assert run.weights() == whole.weights()
    assert run.rows() == whole.rows()
