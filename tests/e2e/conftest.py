"""Fixtures of the tests that run commands in the tiny project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_project import Lab

from zygote import Zygote


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote) -> Iterator[Lab]:
    """The tiny project, in which nothing may be left looking alive."""
    made = Lab.copied(tmp_path / "project", zygote)
    yield made
    assert made.left_alive() == []
