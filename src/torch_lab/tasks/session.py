"""A run under way on rank 0: from the claim of its name to its final status."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch_lab.callbacks import RunCheckpoint
from torch_lab.checkpoints import keeper
from torch_lab.checkpoints.keeper import Keeper
from torch_lab.errors import LockLost, RunIncomplete, Stopped, StoreError, TorchLabError
from torch_lab.experiment import Experiment
from torch_lab.mirror.sdk import Sdk
from torch_lab.recording.beside import Companion
from torch_lab.recording.companion import DRAIN, Order
from torch_lab.recording.live import RunRecorder
from torch_lab.recording.recorder import set_current
from torch_lab.settings import Settings
from torch_lab.store import claim, environment, source
from torch_lab.store import slurm as slurm_job
from torch_lab.store.console import Console
from torch_lab.store.failures import storing
from torch_lab.store.find import StoredRun
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import (
    Best,
    CheckpointEntry,
    Progress,
    Record,
    RecordWriter,
    Resume,
    read,
)
from torch_lab.tasks import sdk, slurm
from torch_lab.tasks.mirroring import stopped_by
from torch_lab.tasks.plan import refuse_completed, say, spoken_command
from torch_lab.tasks.pool.child import announce, in_pool
from torch_lab.tasks.sweep import membership
from torch_lab.utils.threads import leave_signals_to_main
from torch_lab.utils.tracebacks import summary

_LAST_WORDS = 60.0  # seconds at most; there are millions of rows where it takes more than one
# Two threads that parse Python at once can end in a SystemError before Python 3.12, and masking
# the source parses it: user code that reads an .npy file at that moment would fail.
_PARSES_ALONE = sys.version_info < (3, 12)
NOTHING_BEFORE = -1  # a journal that begins after this supersedes every earlier row


@dataclass
class Session:
    """What rank 0 writes a run with; the engine sees it as the run's books."""

    directory: RunDirectory
    lock: Lock
    writer: RecordWriter
    recorder: RunRecorder
    settings: Settings
    snapshot: threading.Thread | None = None
    keeper: Keeper | None = None
    companion: Companion | None = None
    sdk: Sdk | None = None

    @property
    def record(self) -> Record:
        """The record as last written."""
        return self.writer.record

    def saver(self, policy: RunCheckpoint) -> Keeper:
        """The keeper of the run's checkpoints; the record tells which metric it goes by."""
        best = None if policy.monitor is None else Best(policy.monitor, policy.mode)
        if best != self.record.best:
            self.writer.update(best=best)
        self.keeper = Keeper(
            self.directory, self.lock, self.writer, self.recorder, keep=policy.keep or 1
        )
        return self.keeper

    def checkpoint(self, name: str) -> CheckpointEntry | None:
        """The listed checkpoint of that name."""
        return next((each for each in self.record.checkpoints if each.name == name), None)

    def best(self) -> Path | None:
        """The best checkpoint's file, once it is on disk; the last one's where none is best."""
        return self._saved("best") or self.last()

    def last(self) -> Path | None:
        """The newest checkpoint's file, once it is on disk."""
        return self._saved("last")

    def _saved(self, name: str) -> Path | None:
        if self.keeper is not None:
            self.keeper.wait()
        entry = self.checkpoint(name)
        return self.directory.path / entry.file if entry else None

    def account_for(self, ledger: Mapping[str, Any]) -> None:
        """Record what was planned and trained."""
        if self.keeper is not None:
            self.keeper.wait()  # the last save has the ledger of its own time
        self.writer.update(ledger=dict(ledger))

    def note_estimator(self, about: Mapping[str, Any]) -> None:
        """Record what is fitted in place of a network, and how."""
        self.writer.update(estimator=dict(about))

    def open_sdk(self) -> None:
        """Have ClearML's SDK open the run's task here, where hparams ask for that."""
        self.sdk = sdk.opened(self.directory, self.record, self.settings)

    def close_sdk(self, status: str | None = None) -> None:
        """Let the SDK send what the experiment gave to it; harmless when done before."""
        if self.sdk is not None:
            sdk.close(self.sdk, self.settings, status)

    def running(self) -> None:
        """The run's state is set up and training begins."""
        self.writer.update(status="running", started=self.record.started or _now())
        tensorboard, seconds = self.settings.tensorboard, self.settings.machine_use_seconds
        if tensorboard or seconds:
            path, start = str(self.directory.path), int(self.recorder.journal.path.stem)
            order = Order(path, os.getpid(), start, tensorboard, seconds, token=self.lock.token)
            self.companion = Companion(order, say)

    def settle(self, error: BaseException) -> None:
        """Wait for a save that was under way when `error` ended the run."""
        try:
            if self.keeper is not None:
                self.keeper.wait()
        except (TorchLabError, OSError) as second:  # it failed as well
            if not (isinstance(error, LockLost) and isinstance(second, LockLost)):
                error.add_note(str(second))

    def finish(self, status: str, reason: str | None = None) -> None:
        """Close the books with the run's true status."""
        self.close_sdk(status)
        if self.keeper is not None:
            self.keeper.close()
        if self.snapshot is not None:
            self.snapshot.join()
        self._close_recorder(status)
        metrics = self.recorder.summary
        self.writer.update(status=status, reason=reason, ended=_now(), metrics=metrics)

    def _close_recorder(self, status: str) -> None:
        """Where a run ends early, what can't be written then comes after its last checkpoint, and
        is superseded when it goes on: no reason to leave its record open."""
        try:
            self.recorder.close()
        except StoreError:
            if status == "completed":
                raise


def _now() -> float:
    return round(time.time(), 3)


@contextmanager
def new(
    experiment: Experiment,
    settings: Settings,
    record: Record,
    prefix: str,
    *,
    floor: int = 0,
    place: StoredRun | None = None,
) -> Iterator[Session]:
    """Claim a name for a new run and keep its books; `record` holds what is known of it.

    Its number is `floor` or above. One that was queued has a name, and its `place`.
    """
    if place is None:
        membership.require_sweep()
        directory = claim.claim(settings.artifacts, prefix, floor=floor)
        record = replace(record, name=directory.name, id=claim.new_id(), created=_now())
    else:
        directory, record = place.directory, _as_queued(record, place.record)
    with _held(directory, settings) as lock:
        try:
            writer = RecordWriter(directory, lock, record)
            writer.update()
            if place is None:
                membership.require_sweep()  # from now on whoever goes on with the trial finds it
            recorder = RunRecorder(directory, after=0, hold=lock.hold)
        except (TorchLabError, Stopped):
            if place is None:
                claim.discard(directory)  # a run that never began leaves nothing behind
            raise
        session = Session(directory, lock, writer, recorder, settings)
        announce(directory, record)
        session.snapshot = _take_snapshot(directory, experiment)
        with _kept(session):
            yield session


def _as_queued(record: Record, queued: Record) -> Record:
    """The record of a run that begins, with what it has been since it was queued."""
    kept = ("name", "id", "created", "command", "queued")
    return replace(record, **{key: getattr(queued, key) for key in kept})


@contextmanager
def resumed(
    experiment: Experiment, settings: Settings, directory: RunDirectory, *, sync: bool | None = None
) -> Iterator[Session]:
    """Take an interrupted run over and go on with its books; its `sync` stays if none is given."""
    with _held(directory, settings) as lock:
        found = read(directory)
        refuse_completed(found)
        with storing("tidy up", directory.path):
            for left in (*directory.path.glob(".*.tmp"), *directory.path.glob(".probe-*")):
                left.unlink(missing_ok=True)
            record = keeper.tidy(directory, found, say)
        last = next((each for each in record.checkpoints if each.name == "last"), None)
        after = last.batch if last else NOTHING_BEFORE
        writer = RecordWriter(directory, lock, record)
        recorder = RunRecorder(directory, after=after, hold=lock.hold)
        session = Session(directory, lock, writer, recorder, settings)
        announce(directory, record)
        session.snapshot = _take_snapshot(directory, experiment)
        resume = Resume(
            _now(), max(after, 0), spoken_command(), socket.gethostname(), slurm_job.as_record()
        )
        with _kept(session):
            writer.update(
                status="starting",
                reason=None,
                ended=None,
                metrics=recorder.summary,
                resumes=(*record.resumes, resume),
                progress=Progress(last.batch, last.step, last.epoch) if last else Progress(),
                sync=record.sync if sync is None else sync,
            )
            yield session


@contextmanager
def _held(directory: RunDirectory, settings: Settings) -> Iterator[Lock]:
    """The run's lock, with a sign of life for those who can't see this process."""
    lock = Lock.acquire(directory, lost_after=settings.lost_after, on_wait=say)
    try:
        with lock.beating(settings.lost_after):
            yield lock
    finally:
        lock.release()


@contextmanager
def _kept(session: Session) -> Iterator[None]:
    """What is printed goes to the run's console too; how it ends early goes to its record."""
    with Console(session.directory.console(), session.lock.is_held):
        set_current(session.recorder)
        try:
            yield
        except BaseException as error:  # a signal too; raised again
            error.run_directory = session.directory  # type: ignore[attr-defined]
            _close_after(error, session)
            raise
        finally:
            set_current(None)
            session.close_sdk()  # where the books could not be closed
            if session.companion is not None:
                completed = session.record.status == "completed"  # nobody will tell the rest later
                session.companion.end(_LAST_WORDS if completed else DRAIN)


def _close_after(error: BaseException, session: Session) -> None:
    if isinstance(error, LockLost):  # the run is another's: nothing of it may be written
        return
    status, reason = "failed", summary(error)
    if isinstance(error, RunIncomplete):
        status, reason = "incomplete", error.message
    elif isinstance(error, (Stopped, KeyboardInterrupt)):
        status, reason = "aborted", stopped_by(session.directory, session.record, error)
    session.settle(error)
    try:
        session.finish(status, reason)
    except (TorchLabError, OSError) as second:
        # The first error is the one to show; readers will call the run lost, which is true.
        error.add_note(f"The run's record could not be closed: {second}")
    if isinstance(error, Stopped):
        _requeue(session, error)


def _requeue(session: Session, stopped: Stopped) -> None:
    """Have Slurm start a job again that it has warned; the run is resumable by then."""
    job = slurm.to_requeue(stopped.signum)
    if job is None:
        return
    reason = "to be requeued in Slurm"
    if not in_pool():  # there it would end the others, which have still to save
        problem = slurm.requeue(job, session.settings.grace_period / 3)
        if problem is None:
            print(f"  slurm     job {job.id} is requeued: the same command goes on with this run")
        reason = "requeued in Slurm" if problem is None else f"not requeued in Slurm: {problem}"
    with suppress(TorchLabError, OSError):  # the run is aborted and resumable without this word
        session.writer.update(reason=f"{session.record.reason}, {reason}")


def abandon(session: Session, error: BaseException) -> None:
    """Close the books of a run whose main thread can't, and let others take it over."""
    _close_after(error, session)
    session.lock.release()


def _take_snapshot(directory: RunDirectory, experiment: Experiment) -> threading.Thread:
    """Environment and source, where they aren't there yet, while the run is being set up."""

    def machine() -> None:
        if not (directory.environment_file.exists() and directory.git_diff.exists()):
            environment.write(directory, experiment.root)

    def code() -> None:
        if not directory.source_bundle.exists():
            source.bundle(experiment.directory, experiment.root, directory.source_bundle)

    def take(*parts: Callable[[], None]) -> None:
        try:
            for part in parts:
                part()
        except StoreError as error:
            say(f"environment or source of this run could not be recorded: {error}")

    def beside(*parts: Callable[[], None]) -> None:
        leave_signals_to_main()
        take(*parts)

    if _PARSES_ALONE:
        take(code)
    parts = (machine,) if _PARSES_ALONE else (machine, code)
    thread = threading.Thread(target=beside, args=parts, name="snapshot")
    thread.start()
    return thread
