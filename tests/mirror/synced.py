"""A project whose runs are made by hand, and `lab sync` in it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import Outcome, Started
from helpers import Project
from mirror.made_runs import MadeRun
from torch_lab.mirror import state
from torch_lab.mirror.state import Mirror
from torch_lab.store.paths import RunDirectory
from zygote import Zygote


@dataclass(frozen=True)
class Synced(Project):
    """Commands run with the environment of a server."""

    zygote: Zygote
    server: ClearMLServer

    @classmethod
    def made(cls, root: Path, zygote: Zygote, server: ClearMLServer) -> Synced:
        project = cls(root, zygote, server)
        project.write("pyproject.toml", '[project]\nname = "made"\nversion = "0"\n')
        return project

    def start_sync(self, *words: str, env: Mapping[str, str] | None = None) -> Started:
        """Start `lab sync`; `ended` waits for it."""
        said = self.root / "said" / uuid.uuid4().hex
        said.mkdir(parents=True)
        out, err = said / "out", said / "err"
        env = {**self.server.environment, **(env or {})}
        pid = self.zygote.start("lab", "sync", *words, cwd=self.root, log=out, errors=err, env=env)
        return Started(pid, out, err)

    def ended(self, started: Started) -> Outcome:
        status = self.zygote.wait(started.pid)
        return Outcome(status, started.out.read_text(), started.err.read_text())

    def sync(self, *words: str, status: int = 0, env: Mapping[str, str] | None = None) -> Outcome:
        """`lab sync`, to its end."""
        outcome = self.ended(self.start_sync(*words, env=env))
        assert outcome.status == status, outcome
        return outcome

    def begun(self, prefix: str = "00_made-hparams", **fields: object) -> MadeRun:
        """A run under way."""
        return MadeRun.begun(self.artifacts, prefix, **fields)

    def mirror(self, run: RunDirectory) -> Mirror:
        return state.read(run) or Mirror()
