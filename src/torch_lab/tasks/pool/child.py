"""A command's side of the pool that started it: it says which run it has, and ends with it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.store.paths import RunDirectory
from torch_lab.utils.files import write_atomic

if TYPE_CHECKING:
    from torch_lab.store.record import Record

ANNOUNCE = "TORCH_LAB_ANNOUNCE"  # the file to write when a run is claimed or gone on with
PARENT = "_TORCH_LAB_POOL"  # the process that the command ends with

_in_pool = False


def end_with_pool() -> None:
    """Called first in a command: where a pool has started it, it doesn't outlive that."""
    global _in_pool
    parent = os.environ.pop(PARENT, "")
    if parent:
        from torch_lab.utils.orphans import end_with

        _in_pool = True
        end_with(int(parent))


def in_pool() -> bool:
    """Whether this process is one of a pool's commands: what concerns all of them isn't its own."""
    return _in_pool


def announce(directory: RunDirectory, record: Record) -> None:
    """Tell whoever asked for it which run this process works on; once, and not its children."""
    file = os.environ.pop(ANNOUNCE, "")
    if file:
        content = {"name": record.name, "id": record.id, "directory": str(directory.path)}
        with suppress(OSError):  # nobody is there any more: no reason not to train
            write_atomic(Path(file), json.dumps(content).encode() + b"\n", durable=False)


def announced(file: Path) -> RunDirectory | None:
    """The run that a command has announced, if it has come that far."""
    try:
        return RunDirectory(Path(json.loads(file.read_bytes())["directory"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
