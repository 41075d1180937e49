"""Fixtures of the tests of faults."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import EXACT, RUN, SCRIPT, Commands

from helpers import Project, StoredRun
from zygote import Zygote


@pytest.fixture
def commands(tmp_path: Path, zygote: Zygote) -> Iterator[Commands]:
    root = tmp_path / "project"
    shutil.copytree(EXACT, root)
    made = Commands(Project(root), zygote)
    yield made
    made.close()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> StoredRun:
    """The run that nobody has stopped."""
    root = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(EXACT, root)
    zygote.run("train", SCRIPT, cwd=root, log=root / "log.txt")
    return Project(root).run(RUN)
