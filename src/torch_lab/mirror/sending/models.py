"""A run's checkpoints `last` and `best` as models of its task, their files uploaded beside."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.errors import ServerError, ServerUnreachable
from torch_lab.mirror import storage
from torch_lab.mirror.finding import making_sense
from torch_lab.mirror.sending.ledger import Ledger
from torch_lab.mirror.sending.places import Places
from torch_lab.mirror.sending.target import Target
from torch_lab.mirror.sending.uploads import Pause, Upload
from torch_lab.mirror.server import Server
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import CheckpointEntry, Record

NAMES = ("best", "last")
_REST = 4.0  # a newer `last` waits for so many times what the upload of the one before took


@dataclass
class _UnderWay:
    """An upload, and what for."""

    name: str
    entry: CheckpointEntry
    url: str
    upload: Upload
    kept: Path | None
    began: float


class Models:
    """Keeps the task's models what the record's checkpoints are."""

    def __init__(
        self,
        server: Server,
        target: Target,
        run: RunDirectory,
        ledger: Ledger,
        places: Places,
    ) -> None:
        self._server = server
        self._target = target
        self._run = run
        self._ledger = ledger
        self._places = places
        self._under_way: _UnderWay | None = None
        self._not_before = 0.0  # when `last` may be sent again while the run lives
        self.pause = Pause()
        self.sent: list[tuple[str, int]] = []

    def step(self, record: Record, *, ended: bool, idle: bool) -> bool:
        """Go on with what is under way, or begin the next; whether something is now."""
        if self._under_way is not None:
            if not self._under_way.upload.poll():
                return True
            self._finish(self._under_way)
        if not self.pause.over:
            return False
        wanted = next(self._wanted(record, ended=ended, idle=idle), None)
        if wanted is not None:
            self._begin(*wanted)
        return self._under_way is not None

    def pending(self, record: Record) -> list[CheckpointEntry]:
        """The checkpoints that the server has not got."""
        return [entry for _, entry in self._missing(record)]

    @property
    def uploading(self) -> bool:
        """Whether a file is on its way."""
        return self._under_way is not None

    def close(self) -> None:
        """End an upload that is under way; the next sender begins it again."""
        if self._under_way is not None:
            self._under_way.upload.end()
            self._let_go(self._under_way)

    # -- which ones ----------------------------------------------------------------------------

    def _missing(self, record: Record) -> list[tuple[str, CheckpointEntry]]:
        listed = {entry.name: entry for entry in record.checkpoints}
        known = self._ledger.mirror.models
        return [
            (name, listed[name])
            for name in NAMES
            if name in listed
            and known.get(name, {}).get("content") != _content(listed[name])
            and (self._run.path / listed[name].file).is_file()
        ]

    def _wanted(
        self, record: Record, *, ended: bool, idle: bool
    ) -> Iterator[tuple[str, CheckpointEntry]]:
        at_leisure = idle and time.monotonic() >= self._not_before
        for name, entry in self._missing(record):
            if ended or at_leisure or name != "last" or self._sharing(entry):
                yield name, entry

    # -- one upload ----------------------------------------------------------------------------

    def _begin(self, name: str, entry: CheckpointEntry) -> None:
        shared = self._sharing(entry)
        if shared is not None:
            self._register(name, entry, shared)
            return
        file = self._run.path / entry.file
        url = self._places.model(f"{_content(entry)[:16]}-{Path(entry.file).stem}.ckpt")
        kept = _kept(file, self._run.mirror_lock.path / Path(url).name)
        upload = Upload(kept or file, url)
        self._under_way = _UnderWay(name, entry, url, upload, kept, time.monotonic())

    def _sharing(self, entry: CheckpointEntry) -> str | None:
        """The address of the same content under the other name."""
        for model in self._ledger.mirror.models.values():
            if model.get("content") == _content(entry):
                return str(model["url"])
        return None

    def _finish(self, done: _UnderWay) -> None:
        self._under_way = None
        if done.name == "last":
            now = time.monotonic()
            self._not_before = now + _REST * (now - done.began)
        try:
            done.upload.result()
        except ServerError as error:
            self.pause.begin(error.message)
            return
        finally:
            self._let_go(done)
        self.pause.forget()
        self._register(done.name, done.entry, done.url)
        self.sent.append((done.name, done.entry.size or 0))

    def _let_go(self, done: _UnderWay) -> None:
        done.upload.end()
        if done.kept is not None:
            with suppress(OSError):
                done.kept.unlink()

    # -- its entry on the server -----------------------------------------------------------------

    def _register(self, name: str, entry: CheckpointEntry, url: str) -> None:
        mirror = self._ledger.mirror
        before = mirror.models.get(name, {})
        title = f"{self._run.name} {name}"
        model = before.get("model") or self._found(title)
        fields = {"uri": url, **_facts(entry)}
        if model is None:
            model = self._created(title, fields)
        else:
            self._server.call("models.edit", model=model, **fields)
        self._describe(model, name, entry)
        mirror.models[name] = {"model": model, "url": url, "content": _content(entry)}
        self._ledger.save()
        self._remove(before.get("url"))

    def _created(self, title: str, fields: Mapping[str, Any]) -> str:
        mirror = self._ledger.mirror
        fields = {**fields, "name": title, "labels": {}, "ready": False, "framework": "PyTorch"}
        fields |= {"task": mirror.task_id, "project": mirror.project}
        try:
            created = self._server.call("models.create", **fields)
        except ServerUnreachable:
            self._ledger.doubt()
            raise
        with making_sense(self._server):
            return str(created["id"])

    def _found(self, title: str) -> str | None:
        """A model that an earlier sender made, and died before it noted that."""
        self._ledger.settle()
        answer = self._server.call(
            "models.get_all",
            task=[self._ledger.mirror.task_id],
            name=f"^{re.escape(title)}$",
            only_fields=["id", "name", "task"],
        )
        with making_sense(self._server):
            named = (str(each["id"]) for each in answer["models"] if each["name"] == title)
            return next(named, None)

    def _describe(self, model: str, name: str, entry: CheckpointEntry) -> None:
        # A metric may be called as one of ours is, by which the file is checked.
        facts: dict[str, object] = {**entry.metrics, "sha256": entry.sha256, "size": entry.size}
        facts |= {"step": entry.step, "epoch": entry.epoch, "batch": entry.batch}
        metadata = [
            {"key": key, "type": type(value).__name__, "value": str(value)}
            for key, value in facts.items()
            if value is not None
        ]
        self._server.call("models.add_or_update_metadata", model=model, metadata=metadata)
        self._target.put_model(name, model)

    def _remove(self, url: str | None) -> None:
        """Delete the file of a checkpoint that no model is of any more."""
        models = self._ledger.mirror.models.values()
        if url and url not in [model["url"] for model in models]:
            with suppress(ServerError):  # one file too many does no harm
                storage.remove(url)


def _content(entry: CheckpointEntry) -> str:
    """What tells a checkpoint's contents from others: its SHA-256, where that is recorded."""
    if entry.sha256:
        return entry.sha256
    told = f"{entry.file} {entry.size} {entry.saved}"
    return hashlib.sha256(told.encode()).hexdigest()


def _facts(entry: CheckpointEntry) -> Mapping[str, Any]:
    """What a model's page says of its checkpoint."""
    facts = {
        "step": entry.step,
        "epoch": entry.epoch,
        "batch": entry.batch,
        "metrics": {name: str(value) for name, value in entry.metrics.items()},
        "sha256": entry.sha256,
        "size": entry.size,
        "file": Path(entry.file).name,
    }
    return {
        "design": {"design": json.dumps(facts, indent=1)},
        "comment": f"step {entry.step}, epoch {entry.epoch}",
    }


def _kept(file: Path, link: Path) -> Path | None:
    """Another name for a file that training may delete; None where there are no links."""
    with suppress(OSError):
        link.unlink(missing_ok=True)
        link.hardlink_to(file)
        return link
    return None
