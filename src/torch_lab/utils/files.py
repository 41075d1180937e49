"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # what was written before is not on disk


def write_atomic(
    path: Path,
    data: bytes,
    *,
    before_replace: Callable[[], None] | None = None,
    durable: bool = True,
) -> None:
    """Replace `path` by `data`, on disk on return; a reader sees the old or the new file."""
    with open_atomic(path, before_replace=before_replace, durable=durable) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomic(
    path: Path, *, before_replace: Callable[[], None] | None = None, durable: bool = True
) -> Iterator[BinaryIO]:
    """A new file that takes the name `path` when the block ends well, and vanishes when it fails.

    `before_replace` is called when everything is on disk, and may still refuse by raising. Not
    durable: it is left to the caller when things are flushed to disk.
    """
    temporary = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if before_replace is not None:
            before_replace()
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Make the names in a folder as durable as its files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse this on folders; there is nothing else to call.
        if error.errno in _LOST:
            raise
    finally:
        os.close(descriptor)


def file_sizes(paths: Iterable[Path]) -> dict[tuple[int, int], int]:
    """The bytes of files, and of those in folders, by device and inode.

    So a file counts once, whatever names it has there. Links are not followed.
    """
    return dict(_sizes(paths))


def _sizes(paths: Iterable[Path]) -> Iterator[tuple[tuple[int, int], int]]:
    for path in paths:
        try:
            found = path.lstat()
        except OSError:  # it is gone by now
            continue
        if stat.S_ISDIR(found.st_mode):
            for place, _, names in os.walk(path):
                yield from _sizes(Path(place) / name for name in names)
        else:
            yield (found.st_dev, found.st_ino), found.st_size
