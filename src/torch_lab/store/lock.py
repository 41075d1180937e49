"""One writer for each run: a lock file that says who holds it.

No flock: it is unsafe on network file systems. The file is created exclusively and taken over by
renaming; each holder has a token and a generation of its own and looks, before it writes the
record, whether the file still names it. docs/formats.md has the protocol.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.errors import LockLost, RunLocked, StoreError
from torch_lab.store import heartbeat
from torch_lab.store.failures import storing
from torch_lab.store.heartbeat import Heartbeat as Heartbeat
from torch_lab.store.heartbeat import now
from torch_lab.store.host import Liveness, Process, this_process
from torch_lab.store.paths import RunDirectory

FORMAT = 1
# A machine that restarted was silent for longer; a namesake that lives is not.
RESTART_SILENCE = 3 * heartbeat.INTERVAL


@dataclass(frozen=True)
class Holder:
    """Who a lock file names."""

    token: str
    generation: int
    process: Process

    def content(self) -> bytes:
        """The lock file's bytes."""
        fields = {
            "format": FORMAT,
            "token": self.token,
            "generation": self.generation,
            "host": self.process.host,
            "pid": self.process.pid,
            "boot_id": self.process.boot_id,
            "pid_namespace": self.process.pid_namespace,
            "started": self.process.started,
        }
        return json.dumps(fields).encode() + b"\n"

    def __str__(self) -> str:
        return f"process {self.process.pid} on {self.process.host}"


class Lock:
    """The right to write to a run, held by this process."""

    def __init__(self, run: RunDirectory, holder: Holder) -> None:
        self.run = run
        self.holder = holder
        self._content = holder.content()
        self._beat = float("-inf")
        self._lease = 0.0

    @classmethod
    def acquire(
        cls,
        run: RunDirectory,
        *,
        lost_after: float,
        on_wait: Callable[[str], None] | None = None,
    ) -> Lock:
        """Take the lock: free, or from a holder that is dead or silent for `lost_after` seconds.

        Where only silence can tell, this waits until it has, and says so once through `on_wait`;
        RunLocked as soon as the holder gives a sign of life.
        """
        process = this_process()
        with storing("lock the run", run.path):
            while True:
                lock = _try_to_acquire(run, process, lost_after, on_wait)
                if lock is not None:
                    heartbeat.touch(run.heartbeat)
                    return lock

    @property
    def token(self) -> str:
        """Unlike that of any other holder, ever."""
        return self.holder.token

    @property
    def generation(self) -> int:
        """How many times the lock had changed hands by force, plus one."""
        return self.holder.generation

    @contextlib.contextmanager
    def beating(self, lost_after: float) -> Iterator[None]:
        """Give signs of life, often enough for those who wait `lost_after` seconds for one."""
        interval = min(heartbeat.INTERVAL, lost_after / 4)
        self._lease = 2 * interval
        heart = Heartbeat(self.run, self.check, interval=interval, on_beat=self._renew)
        try:
            heart.start()
            yield
        finally:
            heart.stop()

    def hold(self) -> None:
        """Raise LockLost if the run may be another's by now: asked before each small write.

        While the heart beats nobody can have taken it over, and this costs next to nothing. A
        process that was stopped, and woke up, reads the lock first. A lock that can't be read at
        the moment says nothing: whatever is broken there, the write itself will tell.
        """
        if now() - self._beat > self._lease:
            with contextlib.suppress(StoreError):
                self.check()

    def is_held(self) -> bool:
        """Whether `hold` has nothing to say."""
        try:
            self.hold()
        except LockLost:
            return False
        return True

    def check(self) -> None:
        """Raise LockLost unless the file still names this holder; cheap."""
        with storing("read the lock", self.run.lock):
            content = _read(self.run.lock)
        if content == self._content:
            return
        other = parse(content) if content else None
        if other is None and not self.run.path.exists():
            raise LockLost(
                f"run directory {self.run.path} is gone: it was deleted or moved",
                hint="Nothing can be saved there any more, so this process stops.",
            )
        if other is None:
            raise LockLost(
                f"run {self.run.name} isn't this process's any more: its lock is gone",
                hint="Another process has taken it over and ended, or somebody deletes the run."
                " This process stops without writing.",
            )
        raise LockLost(
            f"run {self.run.name} isn't this process's any more: {other} took it over",
            hint="This process was silent for too long, and stops without writing.",
        )

    def _renew(self, beat: float) -> None:
        self._beat = beat

    def release(self) -> None:
        """Free the run, if it is still held; another's lock is left alone."""
        with contextlib.suppress(OSError):
            if _read(self.run.lock) == self._content:
                self.run.lock.unlink()


def holder_of(run: RunDirectory) -> Holder | None:
    """Who the run's lock names; None where there is no lock, or none that can be read."""
    try:
        content = _read(run.lock)
    except OSError:
        return None
    return parse(content) if content else None


def parse(content: bytes) -> Holder | None:
    """The holder that a lock file's bytes name; None for a file that is not (yet) whole."""
    try:
        fields: dict[str, Any] = json.loads(content)
        process = Process(
            host=str(fields["host"]),
            boot_id=str(fields["boot_id"]),
            pid=int(fields["pid"]),
            pid_namespace=str(fields.get("pid_namespace", "")),
            started=str(fields["started"]),
        )
        return Holder(str(fields["token"]), int(fields["generation"]), process)
    except (ValueError, KeyError, TypeError):
        return None


def is_alive(run: RunDirectory, holder: Holder | None, lost_after: float) -> bool:
    """Whether a holder lives: its process where it can be seen, else a fresh sign of life."""
    return _lives(holder, lost_after, run.heartbeat, run.lock)


def _lives(holder: Holder | None, lost_after: float, *signs: Path) -> bool:
    patience = _patience(holder, lost_after)
    return patience is None or (patience > 0 and heartbeat.silence(*signs) < patience)


def _patience(holder: Holder | None, lost_after: float) -> float | None:
    """The silence that proves a holder's death; None for one that is seen to live."""
    if holder is None:
        return lost_after
    return {
        Liveness.ALIVE: None,
        Liveness.DEAD: 0.0,
        Liveness.RESTARTED: min(RESTART_SILENCE, lost_after),
        Liveness.UNKNOWN: lost_after,
    }[holder.process.liveness()]


def _try_to_acquire(
    run: RunDirectory,
    process: Process,
    lost_after: float,
    on_wait: Callable[[str], None] | None,
) -> Lock | None:
    """One attempt; None when the lock changed meanwhile, so that another is due."""
    sign = heartbeat.last_sign(run.heartbeat, run.lock)
    content = _read(run.lock)
    if content is None:
        first = Holder(uuid.uuid4().hex, 1, process)
        return Lock(run, first) if _create(run.lock, first.content()) else None
    holder = parse(content)
    while is_alive(run, holder, lost_after):
        patience = _patience(holder, lost_after)
        if patience is None or heartbeat.last_sign(run.heartbeat, run.lock) != sign:
            raise _locked(run, holder)
        if on_wait is not None:
            on_wait(f"Waiting up to {patience:.0f} s for a sign of life of {holder or 'a writer'}")
            on_wait = None
        time.sleep(min(0.5, lost_after / 20))
        if _read(run.lock) != content:
            return None
    return _take_over(run, content, process, lost_after)


def _locked(run: RunDirectory, holder: Holder | None) -> RunLocked:
    if holder is not None and holder.process.is_suspended():
        pid = holder.process.pid
        return RunLocked(
            f"run {run.name} is alive: {holder} has it, and is suspended",
            hint=f"Let it go on (kill -CONT {pid}, or fg), or end it first (kill -KILL {pid}).",
        )
    return RunLocked(
        f"run {run.name} is alive: {holder or 'a process that is just starting'} writes to it",
        hint="Wait for it, or stop it first.",
    )


def _take_over(
    run: RunDirectory, content: bytes, process: Process, lost_after: float
) -> Lock | None:
    """Replace a dead holder's lock; None when another was faster.

    Only one process can create the file of the next generation, and only it renames that file to
    `lock`, after a look that `lock` is still the dead one's.
    """
    dead = parse(content)
    first = dead.generation + 1 if dead else 2
    generation = first
    while not _create(
        candidate := run.path / f"lock.{generation}",
        (mine := Holder(uuid.uuid4().hex, generation, process)).content(),
    ):
        rival = parse(_read(candidate) or b"")
        if _lives(rival, lost_after, candidate):
            raise _locked(run, rival)
        generation += 1  # it died while it was taking over
    if _read(run.lock) != content or not _rename(candidate, run.lock):
        candidate.unlink(missing_ok=True)
        return None
    for lower in range(first, generation):
        (run.path / f"lock.{lower}").unlink(missing_ok=True)
    return Lock(run, mine) if _read(run.lock) == mine.content() else None


def _rename(source: Path, target: Path) -> bool:
    try:
        source.replace(target)
    except FileNotFoundError:
        return False
    return True


def _create(path: Path, content: bytes) -> bool:
    """Create a file that nobody else has; False when it is there already.

    It is linked to its name when it is whole: a process that is killed leaves no empty lock, which
    others would have to take for that of one that is just starting.
    """
    whole = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    _write_new(whole, content)
    try:
        path.hardlink_to(whole)
        return True
    except FileExistsError:
        return whole.stat().st_nlink == 2  # a server that was asked twice has done it at first
    except OSError:  # a file system without hard links
        return _write_new(path, content)
    finally:
        with contextlib.suppress(OSError):
            whole.unlink()


def _write_new(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet; False when it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return True


def _read(path: Path) -> bytes | None:
    """A small file's bytes, None where there is none; opened anew, so that no cache answers."""
    for attempt in (1, 2):
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                return os.read(descriptor, 65536)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            # The file was replaced on the server between the look-up and the reading.
            if error.errno != errno.ESTALE or attempt == 2:
                raise
    return None
