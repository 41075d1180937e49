"""One run on its way to the server, a slice of time after the other.

Whatever a process that was killed here had sent is found again: the task by its tag, models by
their name, files by what they hold, lines of the log by asking. So nothing is there twice.
"""

from __future__ import annotations

import enum
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from torch_lab.errors import ServerError, ServerRefused
from torch_lab.mirror import events
from torch_lab.mirror import task as tasks
from torch_lab.mirror.sending.artifacts import Artifacts
from torch_lab.mirror.sending.flow import Counts, Flow, NotUploaded, consoles
from torch_lab.mirror.sending.ledger import Ledger
from torch_lab.mirror.sending.models import Models
from torch_lab.mirror.sending.places import Places
from torch_lab.mirror.sending.target import LIVE, ParentTask, Target, output_uri
from torch_lab.mirror.sending.uploads import Pause, send
from torch_lab.mirror.server import Server
from torch_lab.mirror.state import Mirror
from torch_lab.store import record as records
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import UNFINISHED, Record
from torch_lab.utils.text import format_size

_LOOK = 5.0  # seconds between two questions whether the task was aborted


class Turn(enum.Enum):
    """What a slice of sending came to."""

    MORE = "more"  # there is more to send at once
    WAITING = "waiting"  # all that there is was sent, or waits for an upload
    DONE = "done"  # the run has ended, and all of it is on the server


@dataclass
class Sent:
    """What one process sent of a run, for people."""

    events: Counts = field(default_factory=Counts)
    checkpoints: list[tuple[str, int]] = field(default_factory=list)
    artifacts: list[tuple[str, int]] = field(default_factory=list)
    created: bool = False


@dataclass
class _Parts:
    """What sends the parts of a run to one task."""

    flow: Flow
    models: Models
    artifacts: Artifacts

    @property
    def uploading(self) -> bool:
        """Whether a file is on its way."""
        return self.models.uploading or self.artifacts.uploading

    @property
    def problem(self) -> str | None:
        """Why a file could not be uploaded."""
        return next((each.problem for each in self.pauses if each.problem), None)

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """The pauses after failed uploads."""
        return self.models.pause, self.artifacts.pause, self.flow.pause


class Sending:
    """Sends one run to one server, as the holder of the run's mirror lock."""

    def __init__(
        self,
        server: Server,
        run: RunDirectory,
        lock: Lock,
        *,
        lost_after: float,
        parent_of: ParentTask,
    ) -> None:
        self.run = run
        self.sent = Sent()
        self.live = False
        self._server = server
        self._lost_after = lost_after
        self._parent_of = parent_of
        self._ledger = Ledger(run, lock)
        self._target = Target(server, run, self._ledger)
        self._parts: _Parts | None = None
        _tidy(run.mirror_lock.path)
        self._looked = time.monotonic()

    @property
    def mirror(self) -> Mirror:
        """What is acknowledged."""
        return self._ledger.mirror

    @property
    def uploading(self) -> bool:
        """Whether a file is on its way."""
        return self._parts is not None and self._parts.uploading

    def turn(self, seconds: float = 2.0) -> Turn:
        """Send for about so long; ServerError where that can't be, which mirror.json says too."""
        until = time.monotonic() + seconds
        try:
            record = records.read(self.run)
            status = records.status(self.run, record, self._lost_after)
            self.live = status in UNFINISHED
            try:
                return self._turn(record, status, until)
            except ServerRefused as error:
                if not self._forgotten():
                    raise
                self._start_over(error.message)
                return Turn.MORE
        except ServerError as error:
            self._complain(error.message)
            raise

    def aborted(self) -> bool:
        """Whether somebody has aborted the task on the server; asked now and then, told once."""
        if self.mirror.status != LIVE or self.mirror.abort is not None or not self.live:
            return False
        if time.monotonic() - self._looked < _LOOK:
            return False
        self._looked = time.monotonic()
        if not self._target.stopped():
            return False
        self.mirror.abort = round(time.time(), 3)
        self._ledger.save()
        return True

    def hurry(self) -> None:
        """Try again at once what could not be uploaded."""
        for pause in self._parts.pauses if self._parts is not None else ():
            pause.cut_short()

    def close(self) -> None:
        """Let go; what is under way is begun again by the next sender."""
        if self._parts is not None:
            self._parts.models.close()
            self._parts.artifacts.close()
        self._ledger.save()

    # -- one slice -----------------------------------------------------------------------------

    def _turn(self, record: Record, status: str, until: float) -> Turn:
        live = self.live
        self.sent.created |= self._target.reach(record, self._parent_of)
        mirror = self.mirror  # for a new task a new one
        parts = self._parts = self._parts or self._made(record)
        self._target.begin(live=live)
        more = parts.flow.push(until, ended=not live)
        busy = parts.artifacts.step(ended=not live)
        busy |= parts.models.step(record, ended=not live, idle=not more)
        self._account(record)
        if more:
            return Turn.MORE
        if live or busy:
            self._ledger.note()
            return Turn.WAITING
        parts.artifacts.prune()
        self._server.add_events(list(events.summary(self._target.id, record)))
        self._target.end(status, record.reason)
        if mirror.problem is not None or self._pending(record):
            self._ledger.save()
            return Turn.WAITING
        mirror.done, mirror.ended, mirror.seal = True, record.ended, seal(self.run)
        mirror.left = {}
        self._ledger.save()
        return Turn.DONE

    def _made(self, record: Record) -> _Parts:
        """The parts, for the task that there is now."""
        folder = f"{tasks.project_name(record)}/{record.name}.{self._target.id}"
        files = self._server.files
        places = Places(files, output_uri(record) or files, folder)
        artifacts = Artifacts(self._target, self.run, self._ledger, places)

        def upload(file: Path, name: str) -> str:
            url = places.shown(name)
            try:
                send(file, url)
            except (ServerError, OSError) as error:
                raise NotUploaded(str(getattr(error, "message", error))) from error
            return url

        flow = Flow(self._server, self.run, record, self._ledger, upload, artifacts)
        models = Models(self._server, self._target, self.run, self._ledger, places)
        self.sent.events = flow.counts
        self.sent.checkpoints, self.sent.artifacts = models.sent, artifacts.sent
        return _Parts(flow, models, artifacts)

    # -- a server that has lost it -----------------------------------------------------------------

    def _forgotten(self) -> bool:
        """Whether the server refuses because it knows the task no more."""
        return self.mirror.task_id is not None and not self._target.exists()

    def _start_over(self, why: str) -> None:
        if self._parts is not None:
            self._parts.models.close()
            self._parts.artifacts.close()
        self._parts = None
        self._ledger.start_over(self._server.host, why)

    # -- what people are told ------------------------------------------------------------------

    def _complain(self, problem: str) -> None:
        if self.mirror.problem != problem:
            self.mirror.problem = problem
            self._ledger.save()

    def _account(self, record: Record) -> None:
        """Note what is left and what stands in the way."""
        assert self._parts is not None
        self.mirror.problem = self._parts.problem
        checkpoints = self._parts.models.pending(record)
        left = {
            "of the record": self._parts.flow.left,
            "of checkpoints": sum(entry.size or 0 for entry in checkpoints),
        }
        self.mirror.left = {what: format_size(size) for what, size in left.items() if size}

    def _pending(self, record: Record) -> bool:
        assert self._parts is not None
        models, artifacts = self._parts.models, self._parts.artifacts
        return bool(models.pending(record) or artifacts.pending(ended=True))


def _tidy(folder: Path) -> None:
    """Remove what a sender that was killed was about to upload."""
    for pattern in ("*.ckpt", "*.zip"):
        for left in folder.glob(pattern):
            with suppress(OSError):
                left.unlink()


def seal(run: RunDirectory) -> str:
    """What tells whether a run has changed since it was done, without reading it."""
    return ",".join(f"{file.name}:{_stamp(file)}" for file in [run.record_file, *consoles(run)])


def _stamp(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:
        return "-"
    return f"{found.st_mtime_ns}:{found.st_size}"
