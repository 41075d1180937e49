"""What is brought here of one task: its record, its checkpoints, its other files."""

from __future__ import annotations

import hashlib
import re
import time
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from torch_lab.errors import CheckpointDamaged, CheckpointNotFound, ServerError, StoreError
from torch_lab.mirror import finding, storage
from torch_lab.mirror.finding import Model, Task
from torch_lab.mirror.listing import record_of
from torch_lab.mirror.patience import seconds_for
from torch_lab.mirror.server import Server
from torch_lab.mirror.task import ended
from torch_lab.store import record as records
from torch_lab.store.failures import storing
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED, UNFINISHED, CheckpointEntry, Record
from torch_lab.store.values import dumps
from torch_lab.utils.files import fsync_directory, write_atomic

CLAIMED = ".fetching.json"  # in a run directory: it has no run.json yet, and this task fills it
DRAFT = "draft"
NOT_OVER = ("created", "queued", "in_progress")  # what the server says of such a task
_ODD = re.compile(r"[^\w.+=@()-]+")


@dataclass
class Fetcher:
    """Brings files of one task to their places, whole or not at all."""

    server: Server
    task: Task
    folder: Path  # for what is under way, on the same file system
    _sent: Record | None = None

    def record(self) -> Record:
        """The run's record as the server has it, marked as fetched, with no checkpoint yet."""
        record = self._as_sent()
        if record.status in UNFINISHED:
            status, reason = ended(self.task.content)
            record = replace(record, status=status, reason=reason)
        fetched: dict[str, Any] = {"server": self.server.host, "task_id": self.task.id}
        fetched |= {"time": round(time.time(), 3), "whole": False}
        record = replace(record, checkpoints=(), sync=False, fetched=fetched)
        return replace(record, name=safe_name(record.name))

    def into(self, run: StoredRun, model: Model) -> Path:
        """A checkpoint of a run that is here, put where its record has it."""
        record = run.record
        if record.fetched or record.status == QUEUED:
            path, entry = self._held(run, model) or self.checkpoint(
                run.directory, record.checkpoints, model
            )
            others = [each for each in record.checkpoints if each.name != entry.name]
            if entry not in record.checkpoints:
                known = record if record.fetched else self._become(record)
                publish(run.directory, replace(known, checkpoints=(*others, entry)))
            return path
        # Its own record says what it saved: nothing else is put among that.
        saved = next((each for each in record.checkpoints if each.name == model.name), None)
        if saved is None or saved.sha256 is None or saved.sha256 != model.sha256:
            raise CheckpointNotFound(
                f"run {record.name} has not saved what the server has as {model.name!r}"
            )
        return self._put(model, run.directory.path / saved.file)

    def _become(self, queued: Record) -> Record:
        """The record of a run that was queued here, and ended where an agent ran it."""
        over = self.task.content.get("status") not in NOT_OVER
        return self.record() if over else queued

    def _held(self, run: StoredRun, model: Model) -> tuple[Path, CheckpointEntry] | None:
        """The same content, fetched before, under this name or another."""
        for entry in run.record.checkpoints:
            path = run.directory.path / entry.file
            if model.sha256 and entry.sha256 == model.sha256 and _is_there(model, path):
                return path, replace(entry, name=model.name)
        return None

    def as_of_old(self, artifacts: Path, model: Model) -> Path:
        """A checkpoint of a task that torch-lab 2 did not make, where 1.x kept what it fetched."""
        title = f"{safe_name(self.task.name)}-{self.task.id}"
        folder = artifacts / title / "train" / "model_weights"
        return self._put(model, folder / f"{safe_name(model.name)}{finding.SUFFIX}")

    def checkpoint(
        self, directory: RunDirectory, listed: tuple[CheckpointEntry, ...], model: Model
    ) -> tuple[Path, CheckpointEntry]:
        """A checkpoint in the directory of a fetched run, and its line in the record."""
        entry = self._entry(model)
        taken = {each.file for each in listed if each.sha256 != entry.sha256}
        if entry.file in taken and model.sha256:
            name = f"{safe_name(model.name)}-{model.sha256[:16]}{finding.SUFFIX}"
            entry = replace(entry, file=f"{directory.checkpoints.name}/{name}")
        path = self._put(model, directory.path / entry.file)
        return path, replace(entry, sha256=digest(path), size=path.stat().st_size)

    def artifact(self, key: str, target: Path) -> bool:
        """An artifact of the task by its key; whether the task has it."""
        listed = self.task.artifacts.get(key)
        if listed is None:
            return False
        sha256, size = str(listed.get("hash") or "") or None, listed.get("content_size")
        if sha256 is not None and target.is_file() and digest(target) == sha256:
            return True
        size = size if isinstance(size, int) and size > 0 else None
        self.bring(str(listed["uri"]), target, size, sha256)
        return True

    def bring(
        self, url: str, target: Path, size: int | None = None, sha256: str | None = None
    ) -> None:
        """Download to the place for what is under way, then give the file its name."""
        draft = self.folder / DRAFT
        storage.download(url, draft, size=size, sha256=sha256, deadline=seconds_for(size))
        _install(draft, target)

    def _as_sent(self) -> Record:
        """The run.json that was sent; where there is none, or another run's, the task itself."""
        if self._sent is None:
            place = RunDirectory(self.folder)
            try:
                there = self.artifact(place.record_file.name, place.record_file)
                sent = records.read(place) if there else None
            except (ServerError, StoreError):
                sent = None  # the task says enough to use what was trained
            alike = sent is not None and sent.id == self.task.run_id
            self._sent = sent if sent is not None and alike else record_of(self.task)
        return self._sent

    def _entry(self, model: Model) -> CheckpointEntry:
        """The line in run.json for a checkpoint: as it was sent, or what was sent with it."""
        for entry in self._as_sent().checkpoints:
            if entry.sha256 is not None and entry.sha256 == model.sha256:
                file = f"checkpoints/{safe_name(PurePosixPath(entry.file).name)}"
                return replace(entry, name=model.name, file=file)
        return _entry_of(model)

    def _put(self, model: Model, target: Path) -> Path:
        """The model's file at its place, downloaded unless it is there."""
        if _is_there(model, target):
            return target
        draft, seconds = self.folder / DRAFT, seconds_for(model.size)
        storage.download(model.uri, draft, size=model.size, sha256=model.sha256, deadline=seconds)
        problem = damage(draft)
        if problem:
            draft.unlink()
            raise CheckpointDamaged(
                f"checkpoint {model.name!r} of task {self.task.title} ({self.task.id}) is damaged"
                f" on the server: {problem}"
            )
        _install(draft, target)
        return target


def _entry_of(model: Model) -> CheckpointEntry:
    batch = model.number("batch")
    stem = safe_name(model.name) if batch is None else f"step-{batch}"
    return CheckpointEntry(
        name=model.name,
        file=f"checkpoints/{stem}{finding.SUFFIX}",
        kind="training",
        batch=-1 if batch is None else batch,
        step=model.number("step") or 0,
        epoch=model.number("epoch") or 0,
        metrics=finding.metrics_of(model),
        sha256=model.sha256,
        size=model.size,
    )


def _is_there(model: Model, path: Path) -> bool:
    if not path.is_file():
        return False
    return digest(path) == model.sha256 if model.sha256 else damage(path) is None


def _install(draft: Path, target: Path) -> None:
    with storing("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(target)
        fsync_directory(target.parent)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with storing("read", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file by its own checksums; None for a sound one."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        return str(error)
    except zlib.error as error:
        return str(error)
    return f"wrong checksum in {bad}" if bad else None


def publish(directory: RunDirectory, record: Record) -> None:
    """Write the record of a fetched run: from now on it is one of the runs."""
    with storing("write", directory.record_file):
        write_atomic(directory.record_file, dumps(record.as_json()))
        (directory.path / CLAIMED).unlink(missing_ok=True)


def safe_name(text: str) -> str:
    """A name from elsewhere as that of a file: in the folder it is put in, and in no other."""
    plain = _ODD.sub("_", text.strip()).lstrip(".")
    while len(plain.encode()) > 160:
        plain = plain[:-1]
    return plain or "_"
