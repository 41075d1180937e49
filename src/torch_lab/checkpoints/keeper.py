"""The checkpoints of a run under way: what is written, listed, kept and deleted.

A save has two halves. The training process waits only for the first, the bytes leaving its
memory; flushing, reading back, naming and listing happen on a thread of the keeper's own, and
the file before is deleted only when run.json names the new one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from torch_lab.checkpoints import files
from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    SaveFailed,
    StoreError,
)
from torch_lab.store.failures import storing
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import (
    CRASH,
    CheckpointEntry,
    MetricSummary,
    Progress,
    Record,
    RecordWriter,
)
from torch_lab.utils.threads import leave_signals_to_main

STEP_FILE = re.compile(r"step-(\d+)\.ckpt")
LINKS = ("last", "best")


@dataclass(frozen=True)
class SavePoint:
    """Where in training a checkpoint stands."""

    batch: int
    step: int
    epoch: int
    metrics: Mapping[str, float]
    best: bool = False
    ledger: Mapping[str, Any] | None = None


class Books(Protocol):
    """What was recorded of the run: its journal, or all of it."""

    @property
    def summary(self) -> Mapping[str, MetricSummary]:
        """Each metric's last, least and greatest value."""

    def sync(self) -> None:
        """Make it durable."""


class Keeper:
    """Saves a run's own checkpoints and keeps run.json's list of them true."""

    def __init__(
        self,
        run: RunDirectory,
        lock: Lock,
        writer: RecordWriter,
        books: Books,
        *,
        keep: int,
    ) -> None:
        self._run = run
        self._lock = lock
        self._writer = writer
        self._books = books
        self._keep = max(1, keep)
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="checkpoint", initializer=leave_signals_to_main
        )
        self._pending: Future[None] | None = None

    def path(self, batch: int) -> Path:
        """The file of the checkpoint at `batch`, which is about to be written; LockLost where
        this process may write no more."""
        self._lock.check()
        return self._run.checkpoints / f"step-{batch}.ckpt"

    def finish(self, draft: Path, point: SavePoint) -> None:
        """Publish and list the draft in the background."""
        try:
            self.wait()
        except BaseException:  # a signal too; raised again
            files.discard(draft)
            raise
        self._pending = self._thread.submit(self._finish, draft, point)

    def wait(self) -> None:
        """Return when the last save is on disk and listed; raise what went wrong with it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def raise_if_failed(self) -> None:
        """Raise a background failure as soon as it is known, without waiting; LockLost as soon as
        it can be known that the run is another process's."""
        self._lock.hold()
        if self._pending is not None and self._pending.done():
            self.wait()

    def keep_crash(self, contents: dict[str, Any], point: SavePoint) -> None:
        """Write what an exception left, for people to look at; an earlier one makes room."""
        self.wait()
        self._lock.check()
        path = self._run.checkpoints / f"{CRASH}.ckpt"
        digest = files.save(contents, path, before_replace=self._lock.check, lossy=True)
        entry = replace(_entry(path, point, digest), kind=CRASH)
        others = (each for each in self._writer.record.checkpoints if each.name != CRASH)
        self._writer.update(checkpoints=(*others, entry))

    def close(self) -> None:
        """Finish what is under way; the keeper can't be used after."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _finish(self, draft: Path, point: SavePoint) -> None:
        path = self._run.checkpoints / f"step-{point.batch}.ckpt"
        failed = f"can't save checkpoint {path}"
        try:
            digest = files.publish(draft, path, before_replace=self._ready)
            failed = f"checkpoint {path.name} was written, but not recorded"
            self._list(_entry(path, point, digest), point)
        except (SaveFailed, StoreError) as error:
            self._lock.check()  # who has taken the run over since has swept the draft away
            if isinstance(error, SaveFailed):
                raise
            raise SaveFailed(f"{failed}: {error.message}", hint=error.hint) from error

    def _ready(self) -> None:
        """Rows up to the save are on disk before it has its name: whoever finds it adopts it."""
        self._books.sync()
        self._lock.check()

    def _list(self, entry: CheckpointEntry, point: SavePoint) -> None:
        names = ("last", "best") if point.best else ("last",)
        listed = self._writer.record.checkpoints
        steps = {each.file: each for each in listed if _can_go_on(each)} | {entry.file: entry}
        links = {
            each.name: replace(entry, name=each.name) if each.file == entry.file else each
            for each in listed
            if each.name in LINKS
        }
        links |= {name: replace(entry, name=name) for name in names}
        kept, dropped = self._sort_out(list(steps.values()), {e.file for e in links.values()})
        self._lock.check()
        for name, each in links.items():
            if each.file == entry.file:  # also where that was saved once more
                _link(self._run, name, entry)
        self._writer.update(
            checkpoints=(*kept, *links.values(), *_crashes(listed)),
            metrics=self._books.summary,
            progress=Progress(point.batch, point.step, point.epoch),
            ledger=point.ledger,
        )
        self._lock.check()  # who took the run over since may have found them, and list them
        for each in dropped:
            with suppress(OSError):  # one file too many is no reason to end a run
                (self._run.path / each.file).unlink()

    def _sort_out(
        self, steps: list[CheckpointEntry], needed: set[str]
    ) -> tuple[list[CheckpointEntry], list[CheckpointEntry]]:
        steps.sort(key=lambda entry: entry.batch)
        newest = {entry.file for entry in steps[-self._keep :]} | needed
        own = [each for each in steps if STEP_FILE.fullmatch(Path(each.file).name)]
        dropped = [each for each in own if each.file not in newest]
        return [each for each in steps if each not in dropped], dropped


def _file(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _entry(path: Path, point: SavePoint, digest: str) -> CheckpointEntry:
    with storing("look at", path):
        size = path.stat().st_size
    return CheckpointEntry(
        name=path.stem,
        file=_file(path),
        kind="training",
        batch=point.batch,
        step=point.step,
        epoch=point.epoch,
        metrics=dict(point.metrics),
        sha256=digest,
        size=size,
        saved=round(time.time(), 3),
    )


def _link(run: RunDirectory, name: str, entry: CheckpointEntry | None) -> None:
    """Let `last.ckpt` or `best.ckpt` be the entry's file, for people; readers follow run.json."""
    link = run.checkpoints / f"{name}.ckpt"
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        if entry is None:
            link.unlink(missing_ok=True)
            return
        target = run.path / entry.file
        try:
            temporary.hardlink_to(target)
        except OSError:  # a file system without hard links
            temporary.symlink_to(target.name)
        temporary.replace(link)
        temporary.unlink(missing_ok=True)  # renaming a link over one of the same file does nothing
    except OSError:  # no links at all: rather none than one to an older file
        with suppress(OSError):
            link.unlink()


def read_point(checkpoint: Mapping[str, Any]) -> SavePoint | None:
    """The save point that a checkpoint of torch-lab's own says it stands at."""
    own = checkpoint.get("torch_lab")
    if not isinstance(own, dict) or not own.keys() >= {"batch", "step", "epoch", "metrics"}:
        return None
    names = [field.name for field in fields(SavePoint) if field.name in own]
    return SavePoint(**{name: own[name] for name in names})


def tidy(run: RunDirectory, record: Record, say: Callable[[str], None]) -> Record:
    """Before a resume: sweep temporary files, adopt whole unlisted ones, set damaged ones aside.

    A process killed between renaming a checkpoint and listing it leaves a whole file that run.json
    doesn't name; it is as good as any. What is returned lists only files that were verified.
    """
    for left in run.checkpoints.glob(".*.tmp"):
        left.unlink(missing_ok=True)
    sound, adopted_best = _sound(run, record, say)
    sound.sort(key=lambda entry: entry.batch)
    best = next((entry.file for entry in record.checkpoints if entry.name == "best"), None)
    bests = [entry for entry in sound if entry.file in {best, *adopted_best}]
    if best is not None and not bests:  # it is gone: the best of those before it
        bests = [entry for entry in sound if _was_best(run.path / entry.file)]
    links = {
        name: replace(entries[-1], name=name)
        for name, entries in (("last", sound), ("best", bests))
        if entries
    }
    if run.checkpoints.is_dir():
        for name in LINKS:
            _link(run, name, links.get(name))
    crashes = [each for each in _crashes(record.checkpoints) if (run.path / each.file).is_file()]
    return replace(record, checkpoints=(*sound, *links.values(), *crashes))


def _can_go_on(entry: CheckpointEntry) -> bool:
    """Whether a run may go on from it; the links are other names of such."""
    return entry.name not in LINKS and entry.kind != CRASH


def _crashes(listed: Iterable[CheckpointEntry]) -> list[CheckpointEntry]:
    return [each for each in listed if each.kind == CRASH]


def _sound(
    run: RunDirectory, record: Record, say: Callable[[str], None]
) -> tuple[list[CheckpointEntry], set[str]]:
    """Entries of all whole checkpoints, and which of the adopted ones were best when saved."""
    listed = {entry.file: entry for entry in record.checkpoints if _can_go_on(entry)}
    unlisted = [
        file
        for path in sorted(run.checkpoints.glob("step-*.ckpt"))
        if STEP_FILE.fullmatch(path.name) and (file := _file(path)) not in listed
    ]
    sound: list[CheckpointEntry] = []
    best: set[str] = set()
    for file in (*listed, *unlisted):
        path = run.path / file
        try:
            entry, is_best = _verified(path, listed.get(file))
        except CheckpointNotFound:
            say(f"checkpoint {path} is gone")
            continue
        except (CheckpointDamaged, CheckpointUnsafe) as error:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            say(f"{error.message}; set aside as {aside.name}")
            continue
        sound.append(entry)
        if is_best:
            best.add(file)
        if file not in listed:
            say(f"found checkpoint {path.name}, whole but not listed")
    return sound, best


def _verified(path: Path, known: CheckpointEntry | None) -> tuple[CheckpointEntry, bool]:
    if known is not None:
        try:
            files.verify(path, known.sha256)
            return known, False
        except CheckpointDamaged:
            if not _is_saved_again(path, known):
                raise
    digest = files.verify(path)
    point = read_point(files.load_verified(path))
    if point is None:
        raise CheckpointDamaged(f"checkpoint {path} doesn't say where in training it stands")
    return _entry(path, point, digest), point.best


def _is_saved_again(path: Path, known: CheckpointEntry) -> bool:
    """Whether it is the last boundary with what training's end made of it, and not listed yet."""
    try:
        contents = files.load(path)
    except CheckpointError:
        return False
    point = read_point(contents)
    if point is None or point.batch != known.batch:
        return False
    return contents["torch_lab"].get("ended") is True


def _was_best(path: Path) -> bool:
    point = read_point(files.load_verified(path))
    return point is not None and point.best
