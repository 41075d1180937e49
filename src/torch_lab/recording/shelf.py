"""The files that a start of a run adds to its media folder."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch_lab.errors import StoreError
from torch_lab.recording.items import Item, folder_of, parse
from torch_lab.store.failures import storing
from torch_lab.store.paths import RunDirectory
from torch_lab.store.segments import Segment, encode, limits, parsed, segments
from torch_lab.utils.files import fsync_directory, write_atomic


class Stream:
    """A segment that begins with its first line, or at once where earlier ones are to end."""

    def __init__(
        self, folder: Path, after: int, called: str, hold: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._after = after
        self._called = called
        self._hold = hold
        self._turn = threading.Lock()
        self._segment: Segment | None = None
        if segments(folder):
            self._begin()

    def write(self, content: dict[str, Any]) -> None:
        """Append a line."""
        with self._turn:
            (self._segment or self._begin()).write(encode(content))

    def sync(self) -> None:
        """Make all lines durable."""
        with self._turn:
            if self._segment is not None:
                self._segment.sync()

    def close(self) -> None:
        """Make all lines durable; nothing can be written after."""
        with self._turn:
            if self._segment is not None:
                self._segment.close()

    def _begin(self) -> Segment:
        self._segment = Segment(self._folder, self._after, self._called, self._hold)
        return self._segment


class Shelf:
    """Files in folders by name, and the index that says which of them count.

    Nothing is flushed to disk before `sync`, which a checkpoint calls: what comes after the last
    one is superseded when the run is resumed. `hold` is asked before each write, and may refuse
    by raising.
    """

    def __init__(
        self, run: RunDirectory, after: int, hold: Callable[[], None] = lambda: None
    ) -> None:
        self._run = run
        self._hold = hold
        self._turn = threading.Lock()
        self._unsynced: list[Path] = []
        self._index = Stream(run.media, after, "the index of media in", hold)
        self.inherited = list(_inherited(run))
        files = [file for item in self.inherited for file in (item.file, item.data) if file]
        self._used = {file.casefold() for file in files}

    def reserve(self, name: str, batch: int, ending: str) -> Path:
        """A file name that nothing of this run has; its folder is made."""
        self._hold()
        folder = self._run.media / folder_of(name)
        with storing("make the folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        with self._turn:
            number = 0
            while True:
                more = f"-{number}" if number else ""
                path = folder / f"{batch:06d}{more}{ending}"
                # Not all file systems tell upper from lower case.
                key = self.relative(path).casefold()
                if key not in self._used:
                    self._used.add(key)
                    return path
                number += 1

    def relative(self, path: Path) -> str:
        """A path as the index has it."""
        return path.relative_to(self._run.path).as_posix()

    def write(self, path: Path, data: bytes) -> None:
        """A file, whole or not there."""
        with storing("write", path):
            write_atomic(path, data, before_replace=self._hold, durable=False)
        self._unsynced.append(path)

    def copy(self, source: Path, path: Path) -> None:
        """A copy of a file or folder, whole or not there."""
        draft = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
        with storing(f"copy {source} to", path):
            try:
                if source.is_dir():
                    shutil.copytree(source, draft, symlinks=True)
                else:
                    shutil.copyfile(source, draft)
                self._hold()
                draft.rename(path)
            except shutil.Error as error:
                remove(draft)
                raise OSError(None, _first_reason(error)) from error
            except BaseException:  # a signal too; raised again
                remove(draft)
                raise
        self._unsynced.append(path)

    def add(self, item: Item) -> None:
        """Let what was written count; on StoreError its file is gone."""
        try:
            self._index.write(item.as_content())
        except StoreError:
            remove(self._run.path / item.file)
            raise

    def sync(self) -> None:
        """Make all that was added durable."""
        done, self._unsynced = self._unsynced, []
        with storing("flush what was recorded in", self._run.media):
            for path in done:
                for each in [*path.rglob("*"), path] if path.is_dir() else [path]:
                    _flush(each)
            for folder in {path.parent for path in done}:
                with suppress(FileNotFoundError):
                    fsync_directory(folder)
        self._index.sync()

    def close(self) -> None:
        """End the index, after a `sync`; harmless when done before."""
        self._index.close()


def _inherited(run: RunDirectory) -> Iterator[Item]:
    """What earlier starts have left that counts; what is superseded is removed."""
    for draft in [*run.media.rglob(".*.tmp")]:
        remove(draft)
    found = segments(run.media)
    kept: set[str] = set()
    superseded: list[Item] = []
    for segment, limit in zip(found, limits(found), strict=True):
        for item in parsed(segment, parse):
            if item.batch <= limit:
                kept |= {item.file, item.data or item.file}
                yield item
            else:
                superseded.append(item)
    for item in superseded:
        for file in {item.file, item.data or item.file} - kept:
            if ".." not in Path(file).parts and file.startswith("media/"):
                remove(run.path / file)
                with suppress(OSError):  # others are in it
                    (run.path / file).parent.rmdir()


def remove(path: Path) -> None:
    """Take away a file or a folder; what can't be removed is no reason to stop."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    if not path.is_file() or path.is_symlink():
        return  # a folder, or somebody has taken it away since
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_reason(error: shutil.Error) -> str:
    """copytree collects every failure of every file; the first tells enough."""
    reasons = error.args[0]
    return str(reasons[0][-1]) if isinstance(reasons, list) and reasons else str(error)
