"""A run that another machine made and sent, and a project here that knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS, RUN
from helpers import StoredRun
from mirror.mirrored_lab import MirroredLab, mirrored
from zygote import Zygote

DEAD = "http://127.0.0.1:9"  # nothing listens there
OFF = {f"CLEARML_{name}_HOST": DEAD for name in ("API", "WEB", "FILES")}


@dataclass(frozen=True)
class Elsewhere:
    """What was trained there; it is on the server too."""

    lab: MirroredLab
    server: ClearMLServer
    task: str

    @property
    def run(self) -> StoredRun:
        return self.lab.run(RUN)

    @property
    def record(self) -> dict[str, Any]:
        return self.run.record

    @property
    def title(self) -> str:
        """PROJECT/NAME."""
        return f"tests/{RUN}"


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Elsewhere]:
    """On a server of its own, so that names are those of this run alone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    server = ClearMLServer(folder / "server")
    try:
        with mirrored(folder / "tiny", zygote, server.environment) as lab:
            done = lab.done("train", HPARAMS, "-s", "validation_pause=0.001")
            assert "sent to ClearML" in done.out + done.err, done
            task = lab.mirror(RUN).task_id
            assert task is not None
            yield Elsewhere(lab, server, task)
    finally:
        server.stop()


@pytest.fixture
def here(tmp_path: Path, zygote: Zygote, elsewhere: Elsewhere) -> Iterator[MirroredLab]:
    """Another machine with the same project, beside the same server."""
    elsewhere.server.heal()
    with mirrored(tmp_path / "tiny", zygote, elsewhere.server.environment) as made:
        yield made
