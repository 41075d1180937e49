"""Folders that are whole or not there."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch_lab.errors import UsageError
from torch_lab.utils.paths import display


@contextmanager
def making(what: Path) -> Iterator[None]:
    """Say of an OSError in the block that something can't be made, and why."""
    try:
        yield
    except OSError as error:
        where = Path(os.fsdecode(error.filename)) if error.filename else what
        beside = f" ({display(where)})" if where != what else ""
        reason = error.strerror or str(error)
        raise UsageError(f"can't make {display(what)}: {reason}{beside}") from error


@contextmanager
def new_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A hidden folder in `parent` to be filled and renamed; what is left of it then goes."""
    folder = parent / f"{prefix}{uuid.uuid4().hex[:12]}.tmp"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
