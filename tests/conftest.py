"""Fixtures of all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import Project
from zygote import Zygote


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Environment, working directory and import path are as before after each test."""
    before, cwd, path = dict(os.environ), Path.cwd(), list(sys.path)
    yield
    os.chdir(cwd)
    sys.path[:] = path
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project: a pyproject.toml and a package."""
    made = Project(tmp_path / "project")
    made.write("pyproject.toml", '[project]\nname = "lab-project"\nversion = "0"\n')
    made.write("lab_project/__init__.py", "")
    return made


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Real commands without paying for imports each time."""
    made = Zygote()
    yield made
    made.close()
