"""A run directory deleted: first out of sight, then bit by bit, and nothing but it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from pathlib import Path

from torch_lab.errors import RunLocked
from torch_lab.store import claim
from torch_lab.store.failures import store_error, storing
from torch_lab.store.lock import holder_of, is_alive
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.files import file_sizes

_HIDDEN = re.compile(r"\.deleted-(.+)\.[0-9a-f]{12}")
_MOUNTS = Path("/proc/self/mountinfo")  # macOS has none
_ESCAPED = re.compile(r"\\([0-7]{3})")


def remove(directory: RunDirectory, lost_after: float) -> None:
    """Delete a run; of one that is a link the link alone. RunLocked where it lives by now.

    It is renamed first, to a name that no listing shows: from then on nobody finds it, and where
    this is interrupted, `leftovers` does. Its number stays used.
    """
    path = directory.path
    claim.retire(directory)
    if path.is_symlink():
        with storing("delete", path):
            path.unlink()
        return
    hidden = path.with_name(f".deleted-{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        path.rename(hidden)
    except FileNotFoundError:  # another process was faster
        return
    except OSError as error:
        raise store_error("delete", path, error) from error
    settle(hidden, lost_after)


def settle(hidden: Path, lost_after: float) -> None:
    """Delete what was put out of sight; a run that lives comes back, and RunLocked is raised.

    Somebody may have begun to go on with it up to the renaming, but no later. Two processes that
    delete the same run come to the same end.
    """
    moved = RunDirectory(hidden)
    if moved.lock.exists() and is_alive(moved, holder_of(moved), lost_after):
        path = hidden.with_name(_HIDDEN.sub(r"\1", hidden.name))
        with contextlib.suppress(FileNotFoundError):
            hidden.rename(path)
        raise RunLocked(f"run {path.name} is alive by now: it was left alone")
    destroy(hidden)


def leftovers(artifacts: Path) -> list[Path]:
    """What a deletion that was interrupted has left."""
    try:
        names = os.listdir(artifacts)  # noqa: PTH208  names are all that is needed
    except OSError:
        return []
    found = [artifacts / name for name in sorted(names) if _HIDDEN.fullmatch(name)]
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def destroy(path: Path) -> None:
    """Delete a folder with all that is in it; links are deleted, not followed."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # once more, to hear why; or another process was deleting it too
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            destroy(path)
        except OSError as error:
            raise store_error("delete all of", path, error) from error


def size(path: Path) -> int:
    """The bytes that a run's files take; those of a link are not counted."""
    return 0 if path.is_symlink() else sum(file_sizes([path]).values())


def mounted_in(path: Path) -> Path | None:
    """The first place at or below a folder where another file system, or folder, is mounted."""
    real = path.resolve()
    places = _mounts()
    if places is None:
        return _other_device(real)
    return next((place for place in places if place == real or real in place.parents), None)


def _mounts() -> list[Path] | None:
    """All places where something is mounted; None where the system has no list of them."""
    try:
        with _MOUNTS.open(encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.split(" ")[4] for line in file]
    except (OSError, IndexError):
        return None
    return [Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), line)) for line in lines]


def _other_device(real: Path) -> Path | None:
    """The first folder below that lies on another device, itself included."""
    home = real.parent.stat().st_dev
    for place, _, _ in os.walk(real):
        if Path(place).lstat().st_dev != home:
            return Path(place)
    return None
