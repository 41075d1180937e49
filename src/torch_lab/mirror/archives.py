"""Zip archives from the server: their files go where they are told to, and fit on the disk."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch_lab.errors import ServerError
from torch_lab.store.failures import storing
from torch_lab.utils.files import open_atomic

_LARGEST = 8 << 30  # bytes in an archive
_MOST = 100_000  # files in it


def members(archive: Path) -> list[str]:
    """The names of the files in an archive; ServerError where they are too much."""
    with _opened(archive) as content:
        listed = [each for each in content.infolist() if not each.is_dir()]
    room = min(_LARGEST, shutil.disk_usage(archive.parent).free)
    if len(listed) > _MOST or sum(each.file_size for each in listed) > room:
        raise ServerError(f"{archive.name} from the server holds more than there is room for")
    return [each.filename for each in listed]


def is_inside(name: str) -> bool:
    """Whether a path leads into the folder that it is relative to."""
    parts = name.split("/")
    return not {"", ".", ".."}.intersection(parts) and name.isprintable() and "\\" not in name


def unpack(archive: Path, name: str, target: Path) -> None:
    """Write one file of an archive to its place: a file, whatever else the archive calls it."""
    with storing("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # No more is read than the size that the archive announces, and its checksum is verified.
        with _opened(archive) as content, content.open(name) as packed, open_atomic(target) as file:
            shutil.copyfileobj(packed, file, 1 << 20)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as content:
            yield content
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise ServerError(f"{archive.name} from the server is damaged: {error}") from error
    except RuntimeError as error:  # it wants a password
        raise ServerError(f"{archive.name} from the server is locked") from error
