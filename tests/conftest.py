"""Fixtures of all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_server.fixture import clearml_server, shared_clearml_server
from helpers import Project
from zygote import Zygote

__all__ = ["clearml_server", "shared_clearml_server"]


@pytest.fixture(autouse=True)
def _restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Environment, directory, import path and the tests' own modules are as before after each."""
    os.environ.pop("COLUMNS", None)  # how wide a terminal is, a test says itself
    before, cwd, path, modules = dict(os.environ), Path.cwd(), list(sys.path), set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if str(tmp_path_factory.getbasetemp()) in str(getattr(sys.modules[name], "__spec__", "")):
            del sys.modules[name]
    os.chdir(cwd)
    sys.path[:] = path
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Indexes of the tests' runs are no business of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        # Its list of fonts takes seconds to make.
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", f"{_cache_home()}/matplotlib"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # A script that is written twice within a second is not taken for what it was.
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        patch.setattr(sys, "dont_write_bytecode", True)
        yield


def _cache_home() -> str:
    return os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())


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
