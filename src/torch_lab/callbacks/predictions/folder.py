"""What is unfinished lies in a hidden folder beside the file: `.NAME.….tmp`, with its owner."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from torch_lab.store.host import Liveness, Process, this_process

_OWNER = "owner.json"
# After how long without a change nobody is at work on it any more.
_SILENCE = {Liveness.RESTARTED: 60.0, Liveness.UNKNOWN: 86_400.0}


def make(target: Path) -> Path:
    """A new folder for what becomes `target`, whose own folder is made where it is missing.

    Such folders of processes that were killed are removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{_escaped(target.name[:200])}.*.tmp"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex[:12]}.tmp")
    folder.mkdir()
    (folder / _OWNER).write_text(json.dumps(asdict(this_process())), encoding="utf-8")
    return folder


def remove(folder: Path) -> None:
    """Remove the folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    state = Liveness.UNKNOWN
    with suppress(OSError, ValueError, TypeError):  # just being made, or of a newer torch-lab
        state = Process(**json.loads((folder / _OWNER).read_bytes())).liveness()
    if state in _SILENCE:
        return _silent_for(folder) > _SILENCE[state]
    return state is Liveness.DEAD


def _silent_for(folder: Path) -> float:
    changed = [0.0]
    for path in (folder, *folder.iterdir()):
        with suppress(OSError):
            changed.append(path.stat().st_mtime)
    return time.time() - max(changed)


def _escaped(name: str) -> str:
    """The name as a pattern that matches nothing else."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
