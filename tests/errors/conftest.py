"""Fixtures of the tests of what torch-lab says."""

from __future__ import annotations

import pytest
from said import Lab

from helpers import Project
from zygote import Zygote


@pytest.fixture
def lab(project: Project, zygote: Zygote) -> Lab:
    """A small project that trains as it is."""
    return Lab.made(project, zygote)
