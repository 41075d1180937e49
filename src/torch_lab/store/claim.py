"""A name and a directory for a new run: PREFIX_vN, each N once, for ever.

The directory's creation is the claim. A mark in `.counters/PREFIX/` outlives it, so that the
number of a deleted run isn't given to another one.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
import uuid
from pathlib import Path

from torch_lab.errors import StoreError
from torch_lab.store.failures import store_error, storing
from torch_lab.store.host import hostname
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.files import fsync_directory

COUNTERS = ".counters"


def new_id() -> str:
    """A run's id: 32 hex digits, unique without asking anyone."""
    return uuid.uuid4().hex


def claim(artifacts: Path, prefix: str, *, floor: int = 0) -> RunDirectory:
    """Create the next run directory of `prefix`, numbered `floor` or above.

    On failure nothing of the run is left behind.
    """
    _create_folder(artifacts)
    number = max(floor, _next_number(artifacts, prefix))
    while not _create_run(artifacts / f"{prefix}_v{number}"):
        number += 1
    return _counted(RunDirectory(artifacts / f"{prefix}_v{number}"))


def take(artifacts: Path, name: str) -> RunDirectory | None:
    """Create the run directory of a name that was claimed on another machine; None if taken."""
    _create_folder(artifacts)
    return _counted(RunDirectory(artifacts / name)) if _create_run(artifacts / name) else None


def _counted(run: RunDirectory) -> RunDirectory:
    """The run, its number marked as used; on failure nothing of it is left."""
    prefix, _, number = run.name.rpartition("_v")
    artifacts = run.path.parent
    counter = artifacts / COUNTERS / prefix
    try:
        _raise_counter(counter, int(number))
        fsync_directory(artifacts)
    except OSError as error:
        discard(run)
        raise store_error("write", Path(error.filename or counter), error) from error
    return run


def retire(run: RunDirectory) -> None:
    """Mark the number of a run that is to be deleted as used, where its claim didn't.

    Claims do; runs that were copied here have no mark. Nothing is written where there is one, so
    that a full disk can be cleared.
    """
    prefix, underscore, number = run.name.rpartition("_v")
    counter = run.path.parent / COUNTERS / prefix
    if not (underscore and prefix and number.isascii() and number.isdigit()):
        return
    if int(number) > max(_marks(counter), default=-1):
        with storing("write", counter):
            _raise_counter(counter, int(number))


def discard(run: RunDirectory) -> None:
    """Take a claim back whose run never began; its number stays used."""
    shutil.rmtree(run.path, ignore_errors=True)


def _create_folder(artifacts: Path) -> None:
    try:
        artifacts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        obstacle = _obstacle(artifacts)
        if obstacle is None:
            raise store_error("create the artifacts folder", artifacts, error) from error
        message = f"can't create the artifacts folder {artifacts}: {obstacle} isn't a folder"
        raise StoreError(message, hint="Move it, or set another artifacts folder.") from error


def _obstacle(path: Path) -> Path | None:
    """What stands where a folder should be: a file, or a link to nothing."""
    for place in (path, *path.parents):
        if place.is_dir():
            return None
        if place.exists() or place.is_symlink():
            return place
    return None


def _next_number(artifacts: Path, prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"_v(\d+)", re.ASCII)
    with storing("list", artifacts):
        matches = [pattern.fullmatch(path.name) for path in artifacts.iterdir()]
    taken = [int(match[1]) for match in matches if match]
    return max([*taken, *_marks(artifacts / COUNTERS / prefix)], default=-1) + 1


def _marks(counter: Path) -> list[int]:
    """The numbers marked as used; whatever else lies there is not a number."""
    try:
        names = [path.name for path in counter.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error("read the counter", counter, error) from error
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _create_run(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    except OSError as error:
        raise store_error("create the run directory", path, error) from error
    return True


def _raise_counter(counter: Path, number: int) -> None:
    """Mark `number` as used for ever.

    A mark is a file of that name, and only lower ones are removed: however late a process comes,
    it can't set the counter back. Its content fails to be written where the disk is full.
    """
    if counter.exists() and not counter.is_dir():
        counter.unlink()
    counter.mkdir(parents=True, exist_ok=True)
    mark = counter / str(number)
    content = {"format": 1, "host": hostname(), "time": round(time.time(), 3)}
    try:
        mark.write_text(json.dumps(content) + "\n")
    except OSError:
        with contextlib.suppress(OSError):
            mark.unlink()
        raise
    fsync_directory(counter)
    for lower in _marks(counter):
        if lower < number:
            (counter / str(lower)).unlink(missing_ok=True)
