"""The sign of life of a run, for those who can't see its process."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from torch_lab.errors import StoreError
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.threads import leave_signals_to_main

INTERVAL = 5.0
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the latter: macOS


class Heartbeat:
    """A daemon thread that touches the heartbeat while the run is this process's own.

    `check` is asked before each beat (a lock's `check`); when it raises, the beats end: a process
    that woke up too late must not keep its successor's run alive. `on_beat` is told when each beat
    that others can see was begun.
    """

    def __init__(
        self,
        run: RunDirectory,
        check: Callable[[], None] | None = None,
        *,
        interval: float = INTERVAL,
        on_beat: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._run = run
        self._check = check
        self._interval = interval
        self._on_beat = on_beat
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Beat once now, then from the thread."""
        self._ended.clear()
        self._beat()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the beats; harmless when they have not begun."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _loop(self) -> None:
        leave_signals_to_main()
        while not self._ended.wait(self._interval):
            try:
                self._beat()
            except StoreError:  # the lock can't be read at the moment: a missed beat
                continue
            except Exception:  # noqa: BLE001  whatever the check says, its caller learns it first hand
                return

    def _beat(self) -> None:
        begun = now()
        if self._check is not None:
            self._check()
        # A beat that can't be written is a missed beat: no reason to end a training.
        with contextlib.suppress(OSError):
            touch(self._run.heartbeat)
            self._on_beat(begun)


def now() -> float:
    """Seconds by a clock that nobody sets, and that counts while a machine sleeps."""
    return time.clock_gettime(_CLOCK)


def touch(path: Path) -> None:
    """Set a file's time to the file server's now, creating it where it is missing."""
    try:
        os.utime(path)
    except FileNotFoundError:
        path.touch()


def last_sign(*files: Path) -> float:
    """When the last of these files was touched, by the file server's clock; -inf for none."""
    return max((_modified(file) for file in files), default=float("-inf"))


def silence(*files: Path) -> float:
    """For how many seconds none of these files of one directory was touched."""
    return server_time(files[0].parent) - last_sign(*files)


def server_time(directory: Path) -> float:
    """The time by the clock that stamps files there, or this machine's where none can be made."""
    probe = directory / f".probe-{uuid.uuid4().hex}"
    try:
        probe.touch(exist_ok=False)
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()
    except OSError:
        return time.time()


def _modified(path: Path) -> float:
    # Opened, because a network file system may answer a bare stat from a minute-old cache.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return float("-inf")
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
