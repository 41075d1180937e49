"""Environment and source are recorded beside the setting-up of a run, safely."""

from __future__ import annotations

import sys
import threading

import pytest

from helpers import Project
from torch_lab.experiment import find
from torch_lab.store import source
from torch_lab.store.paths import RunDirectory
from torch_lab.tasks import session


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="threads may parse at once there")
def test_no_thread_parses_beside_the_users_code(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python 3.11, reading an .npy file in `train_config` could end in a SystemError."""
    project.write("lab_project/experiments/00_a/__main__.py", "")
    script = project.write("lab_project/experiments/00_a/hparams.py", "hparams = {}\n")
    parsing: list[threading.Thread] = []
    masked = source.masked_source

    def watched(name: str, data: bytes) -> tuple[bytes, list[int]]:
        parsing.append(threading.current_thread())
        return masked(name, data)

    monkeypatch.setattr(source, "masked_source", watched)
    run = RunDirectory(project.artifacts / "00_a-hparams_v0")
    run.path.mkdir(parents=True)
    session._take_snapshot(run, find(script)).join()
    assert set(parsing) == {threading.main_thread()}
    assert run.source_bundle.is_file()
    assert run.git_diff.exists()
