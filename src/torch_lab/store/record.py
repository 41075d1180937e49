"""run.json: the record of a run, small and always whole."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch_lab.errors import StoreError
from torch_lab.store.failures import storing
from torch_lab.store.lock import Lock, holder_of, is_alive
from torch_lab.store.paths import RunDirectory
from torch_lab.store.values import Json, decode, dumps, encode, loads
from torch_lab.utils.files import write_atomic

FORMAT = 1
UNFINISHED = frozenset({"starting", "running"})
QUEUED = "queued"  # handed to a ClearML queue; an agent is to begin it, perhaps elsewhere
LOST_AFTER = 60.0


@dataclass(frozen=True)
class Parent:
    """The run, and its checkpoint, that a run started from."""

    id: str
    name: str
    checkpoint: str


@dataclass(frozen=True)
class MetricSummary:
    """A metric over the run; NaN counts as last, not as least or greatest."""

    last: float
    min: float
    max: float


@dataclass(frozen=True)
class Best:
    """The metric by which the run's best checkpoint is chosen, where the experiment says which."""

    monitor: str
    mode: str = "min"


CRASH = "crash"  # name and kind of what an exception in training left: no run goes on from it


@dataclass(frozen=True)
class CheckpointEntry:
    """A checkpoint that is complete; `file` is relative to the run directory."""

    name: str
    file: str
    kind: str
    batch: int
    step: int
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    sha256: str | None = None
    size: int | None = None
    saved: float | None = None


@dataclass(frozen=True)
class Resume:
    """One time that the run went on, `batch` batches having been handled."""

    time: float
    batch: int
    command: tuple[str, ...] = ()
    host: str = ""
    slurm: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Progress:
    """How far the run was at its last save or end."""

    batch: int = 0
    step: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class Record:
    """What run.json says; times are seconds since 1970, `script` is relative to the project.

    `sync`: a sender is to mirror the run; `fetched`: which server and task it was fetched from;
    `queued`: the queue that it was handed to, the task there, the agent that runs it; `ledger`:
    which batches and samples were planned and trained on, and who stopped it; `sweep`: the study
    and trial that it is of, and their storage; `slurm`: the job that began it, and how often that
    had been started again; `estimator`: the class of what was fitted in place of a network, and
    how.
    """

    name: str
    id: str
    status: str
    experiment: str = ""
    script: str = ""
    reason: str | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    command: tuple[str, ...] = ()
    hparams: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    dev_run: int | float | None = None
    seed: int | None = None
    parent: Parent | None = None
    host: str = ""
    best: Best | None = None
    metrics: Mapping[str, MetricSummary] = field(default_factory=dict)
    checkpoints: tuple[CheckpointEntry, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    resumes: tuple[Resume, ...] = ()
    progress: Progress = Progress()
    ledger: Mapping[str, Any] | None = None
    slurm: Mapping[str, Any] | None = None
    sweep: Mapping[str, Any] | None = None
    estimator: Mapping[str, Any] | None = None
    sync: bool = False
    fetched: Mapping[str, Any] | None = None
    queued: Mapping[str, Any] | None = None
    format: int = FORMAT
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def as_json(self) -> dict[str, Json]:
        """The record as it is written: strict JSON, secrets masked, unknown keys kept."""
        # Readers, who list a thousand runs at once, don't wait for what only writers need.
        from torch_lab.store.secrets import mask, mask_command, mask_text

        content: dict[str, Any] = {"format": FORMAT}
        content |= {key: getattr(self, key) for key in _KEYS if key != "format"}
        content["hparams"] = mask(self.hparams)
        content["command"] = mask_command(self.command)
        content["overrides"] = [mask_text(text) for text in self.overrides]
        content["reason"] = None if self.reason is None else mask_text(self.reason)
        content["parent"] = asdict(self.parent) if self.parent else None
        content["best"] = asdict(self.best) if self.best else None
        content["metrics"] = {name: asdict(summary) for name, summary in self.metrics.items()}
        content["checkpoints"] = [_plain(entry) for entry in self.checkpoints]
        content["resumes"] = [
            {**_plain(resume), "command": mask_command(resume.command)} for resume in self.resumes
        ]
        content["progress"] = asdict(self.progress)
        encoded = {key: encode(value) for key, value in content.items()}
        unknown = {key: encode(item) for key, item in self.extra.items() if key not in encoded}
        return encoded | unknown


class RecordWriter:
    """The one writer of a run's record; its first `update()` creates run.json."""

    def __init__(self, run: RunDirectory, lock: Lock, record: Record) -> None:
        self.run = run
        self._lock = lock
        self._record = record
        self._turn = threading.Lock()

    @property
    def record(self) -> Record:
        """The record as last written."""
        return self._record

    def update(self, **changes: Any) -> Record:
        """Change fields and replace the file; LockLost when the run is another's by now."""
        with self._turn:
            record = replace(self._record, **changes)
            self._lock.check()
            content = dumps(record.as_json())
            with storing("write", self.run.record_file):
                # Checked again at the last moment: this process may have been stopped meanwhile.
                write_atomic(self.run.record_file, content, before_replace=self._lock.check)
            self._record = record
            return record


def read(run: RunDirectory) -> Record:
    """The record of a run; StoreError when it is missing, damaged or of a newer torch-lab."""
    with storing("read", run.record_file):
        content = run.record_file.read_bytes()
    return parse(run, content)


def parse(run: RunDirectory, content: bytes) -> Record:
    """The record that the bytes of a run's record file hold; StoreError as for `read`."""
    try:
        return _parse(loads(content))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else str(error)
        hint = "Its checkpoints may be sound: a .ckpt file can be given by its path."
        raise StoreError(f"{run.record_file} is damaged: {detail}", hint=hint) from error


def from_json(content: Json) -> Record:
    """The record that `as_json` made this of."""
    return _parse(decode(content))


def status(run: RunDirectory, record: Record, lost_after: float = LOST_AFTER) -> str:
    """The record's status, or "lost" for an unfinished run that nobody works on.

    Of one that was fetched nobody knows here: it is as it was.
    """
    if record.status not in UNFINISHED or record.fetched is not None:
        return record.status
    if run.lock.exists() and is_alive(run, holder_of(run), lost_after):
        return record.status
    # It may have ended since the record was read: the lock goes last.
    latest = read(run).status
    return "lost" if latest in UNFINISHED else latest


def _plain(value: Any) -> dict[str, Any]:
    return {item.name: getattr(value, item.name) for item in fields(value)}


_KEYS = tuple(item.name for item in fields(Record) if item.name != "extra")
_REQUIRED = ("name", "id", "status")


def _parse(content: Any) -> Record:
    if not isinstance(content, dict):
        raise TypeError("it holds no object")
    version = content["format"]
    if not isinstance(version, int) or version < 1:
        raise TypeError(f"format is {version!r}")
    if version > FORMAT:
        raise StoreError(
            f"run {content.get('name')} was written by a newer torch-lab (format {version})",
            hint="Update torch-lab to read it.",
        )
    known = {key: content[key] for key in _KEYS if key in content}
    known |= {key: convert(known[key]) for key, convert in _CONVERSIONS.items() if key in known}
    for key in _REQUIRED:
        if not isinstance(known[key], str):
            raise TypeError(f"{key} is {known[key]!r}")
    extra = {key: value for key, value in content.items() if key not in known}
    return Record(**known, extra=extra)


def _build(kind: type[Any], value: Any) -> Any:
    """A part of the record, from the keys it knows; newer ones are passed over."""
    try:
        return kind(**value)
    except TypeError:  # the rare case costs more, so that a thousand runs are listed sooner
        return kind(**{key: item for key, item in value.items() if key in _NAMES[kind]})


def _resume(value: Any) -> Resume:
    resume: Resume = _build(Resume, value)
    return replace(resume, command=tuple(resume.command))


_NAMES: dict[type[Any], frozenset[str]] = {
    kind: frozenset(item.name for item in fields(kind))
    for kind in (Parent, Best, MetricSummary, CheckpointEntry, Resume, Progress)
}
_CONVERSIONS: dict[str, Any] = {
    "hparams": dict,
    "command": tuple,
    "overrides": tuple,
    "parent": lambda value: None if value is None else _build(Parent, value),
    "best": lambda value: None if value is None else _build(Best, value),
    "metrics": lambda value: {
        name: _build(MetricSummary, summary) for name, summary in value.items()
    },
    "checkpoints": lambda value: tuple(_build(CheckpointEntry, entry) for entry in value),
    "scripts": dict,
    "resumes": lambda value: tuple(_resume(entry) for entry in value),
    "progress": lambda value: _build(Progress, value),
    "ledger": lambda value: None if value is None else dict(value),
    "slurm": lambda value: None if value is None else dict(value),
    "sweep": lambda value: None if value is None else dict(value),
    "estimator": lambda value: None if value is None else dict(value),
    "sync": bool,
    "fetched": lambda value: None if value is None else dict(value),
    "queued": lambda value: None if value is None else dict(value),
}
