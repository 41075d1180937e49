"""The checkpoints of a run deleted, all but some; its record stays and says so."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch_lab.errors import UsageError
from torch_lab.store import record as records
from torch_lab.store.failures import storing
from torch_lab.store.find import INTERRUPTED, StoredRun
from torch_lab.store.lock import Lock
from torch_lab.store.record import CheckpointEntry, Record, RecordWriter
from torch_lab.utils.files import file_sizes

_STEP = re.compile(r"step-\d+\.ckpt")
_LINKS = ("last", "best")


@dataclass(frozen=True)
class Slimming:
    """The checkpoints of a run that go, their files, and those that stay."""

    run: StoredRun
    names: tuple[str, ...]
    files: tuple[Path, ...]
    staying: tuple[str, ...]
    size: int


def slimming(run: StoredRun, names: Collection[str], *, force: bool = False) -> Slimming | None:
    """What goes where only the checkpoints of these names stay; None where nothing does.

    An interrupted run keeps its last, from which it would go on.
    """
    record = run.record
    resumable = run.status in INTERRUPTED and not force
    wanted = {*names, "last"} if resumable else set(names)
    going = [entry for entry in record.checkpoints if entry.name not in wanted]
    staying = [entry for entry in record.checkpoints if entry.name in wanted]
    files = sorted(set(_files(run, going, staying, adopt=not resumable)))
    if not (going or files):
        return None
    kept = file_sizes(_places(run, staying))
    freed = (size for file, size in file_sizes(files).items() if file not in kept)
    return Slimming(
        run,
        tuple(entry.name for entry in going),
        tuple(files),
        tuple(entry.name for entry in staying),
        sum(freed),
    )


def carry_out(slim: Slimming, lost_after: float) -> None:
    """Change the record, then delete: whatever is interrupted, no record names what is gone."""
    directory = slim.run.directory
    lock = Lock.acquire(directory, lost_after=lost_after)
    try:
        record = records.read(directory)
        _require_unchanged(slim, record)
        left = tuple(entry for entry in record.checkpoints if entry.name not in slim.names)
        if left != record.checkpoints:
            RecordWriter(directory, lock, record).update(checkpoints=left)
        for file in slim.files:
            with storing("delete", file), contextlib.suppress(FileNotFoundError):
                _delete(file)
    finally:
        lock.release()


def _require_unchanged(slim: Slimming, record: Record) -> None:
    if _files_named(record) != _files_named(slim.run.record):
        raise UsageError(
            f"run {record.name} has changed meanwhile: its checkpoints were left alone",
            hint="Ask again.",
        )


def _files_named(record: Record) -> list[tuple[str, str, str | None]]:
    """The checkpoints without their metrics: NaN is no NaN's equal."""
    return [(entry.name, entry.file, entry.sha256) for entry in record.checkpoints]


def _delete(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink()


def _files(
    run: StoredRun,
    going: list[CheckpointEntry],
    staying: list[CheckpointEntry],
    *,
    adopt: bool,
) -> Iterator[Path]:
    """The files of these checkpoints that no other has, and what nobody names any more."""
    kept = {*_places(run, staying)}
    for path in _places(run, going):
        if path not in kept and _there(path):
            yield path
    folder = run.directory.checkpoints
    names = {entry.name for entry in staying}
    for name in _LINKS:
        link = folder / f"{name}.ckpt"
        if name not in names and link not in kept and _there(link):
            yield link
    if adopt and folder.is_dir():
        unlisted = (path for path in folder.iterdir() if _STEP.fullmatch(path.name))
        yield from (path for path in unlisted if path not in kept)


def _places(run: StoredRun, entries: list[CheckpointEntry]) -> Iterator[Path]:
    """Where checkpoints lie; what a record names outside of the run is not its own."""
    root = run.directory.path
    for entry in entries:
        name = PurePosixPath(entry.file)
        path = root.joinpath(*name.parts)
        outside = name.is_absolute() or ".." in name.parts or not name.parts
        if not outside and path.parent.resolve().is_relative_to(root.resolve()):
            yield path


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
