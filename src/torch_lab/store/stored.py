"""A run as a list has it: what it needs is at hand, the rest is read when it is asked for."""

from __future__ import annotations

import os
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from torch_lab.errors import StoreError
from torch_lab.store import record as records
from torch_lab.store.flat import Brief, Facts
from torch_lab.store.index import Known
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record

DAMAGED = "damaged"


class StoredRun:
    """A run as found on disk; one whose run.json can't be read has the status "damaged".

    `where` it is: "local", "server" (there is no such directory) or "both". `project`: that of its
    ClearML task, where the server was asked. Of a run that the index knows the record is read when
    it is asked for; `brief` and `facts` are at hand. `notes`: what was found out of it since, to be
    forgotten with this object.
    """

    def __init__(
        self,
        directory: RunDirectory,
        record: Record,
        status: str,
        where: str = "local",
        project: str | None = None,
    ) -> None:
        self._path: Path | str = directory.path
        self._record: Record | None = record
        self._known: Known | None = None
        self.brief = Brief.of(record)
        self.status = status
        self.where = where
        self.project = project
        self.notes: dict[str, Any] = {}

    @classmethod
    def known(cls, path: str, known: Known) -> StoredRun:
        """A run that has ended, as the index has it."""
        run = cls.__new__(cls)
        run._path, run._record, run._known = path, None, known
        run.brief = known.brief
        run.status, run.where, run.project = known.brief.status, "local", None
        run.notes = {}
        return run

    def changed(self, **changes: Any) -> StoredRun:
        """The same with another `record`, `status`, `where` or `project`."""
        run = copy(self)
        run.notes = {}
        if "record" in changes:
            run._record, run._known = changes.pop("record"), None
            run.brief = Brief.of(run.record)
            run.__dict__.pop("facts", None)
        vars(run).update(changes)
        return run

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredRun) and self._said == other._said

    def __hash__(self) -> int:
        return hash(str(self._path))

    @property
    def _said(self) -> tuple[object, ...]:
        return str(self._path), self.brief, self.facts, self.status, self.where, self.project

    def __repr__(self) -> str:
        return f"<StoredRun {self.brief.name} {self.status}>"

    @property
    def folder(self) -> str:
        """The name of its directory."""
        return os.path.basename(self._path)  # noqa: PTH119  ten thousand paths take a while

    @cached_property
    def directory(self) -> RunDirectory:
        """Where it is, or would be."""
        return RunDirectory(Path(self._path))

    @property
    def record(self) -> Record:
        """What its run.json says; one that went away meanwhile says that it is damaged."""
        if self._record is None:
            try:
                self._record = records.read(self.directory)
            except StoreError as error:
                self._record = damaged(self.directory, self.brief.id, error)
        return self._record

    @cached_property
    def facts(self) -> Facts:
        """All that can be asked for of its record, under dotted keys."""
        return Facts.of(self.record) if self._known is None else self._known.facts


def damaged(directory: RunDirectory, run_id: str, error: StoreError) -> Record:
    """What is shown of a run whose record can't be read."""
    created = _modified(directory.path)
    return Record(directory.name, run_id, DAMAGED, reason=error.message, created=created)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
