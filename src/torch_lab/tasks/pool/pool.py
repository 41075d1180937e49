"""Runs commands on slots: a free slot gets the next one at once.

Each is a process in a session of its own, so that a terminal's Ctrl-C comes to the pool alone,
which tells them once; a second signal is told again, by which they end at once, and a third ends
all of them by force. They end with the pool, however that ends.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from torch_lab.errors import RunError, Stopped
from torch_lab.tasks.pool.child import ANNOUNCE
from torch_lab.tasks.pool.jobs import Ended, Job, Running
from torch_lab.tasks.pool.memory import kills
from torch_lab.tasks.pool.slots import Slot
from torch_lab.tasks.pool.starting import Begun, Event, Gone, Over, Starter
from torch_lab.utils.overseer import ECHO
from torch_lab.utils.threads import ENDING

PATIENCE = 60.0  # seconds from a signal until those that have not ended are killed
_BY_FORCE = 3  # signals
_LOOK = 0.1  # seconds between two looks at whether a process is there that nobody waits for


class Pool:
    """Runs jobs on slots, for the main thread; `on_tick` is called every so many seconds."""

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        patience: float = PATIENCE,
        every: float = 0.5,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._slots = {slot.number: slot for slot in slots}
        self._free = sorted(self._slots)
        self.patience = patience
        self._every = every
        self.on_tick = on_tick
        self._running: dict[int, Running] = {}
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._starter: Starter | None = None
        self._begun = False  # something has been started by this starter
        self._supply: Iterator[Job | None] = iter(())
        self._dry = False
        self.signum: int | None = None  # which signal has come first
        self._heard = 0
        self._heard_at = float("-inf")
        self._deadline: float | None = None

    @property
    def running(self) -> list[Running]:
        """What is under way, by slot."""
        return [self._running[number] for number in sorted(self._running)]

    def prepare(self) -> None:
        """Begin to import what the commands need; `run` does so where nobody has."""
        if self._starter is None:
            first = next(iter(self._slots.values()))
            threads = {k: v for k, v in first.environment().items() if k.endswith("_THREADS")}
            self._starter = Starter(threads, self._events.put)
            self._begun = False

    def close(self) -> None:
        """Undo `prepare`; `run` does so at its end."""
        if self._starter is not None:
            if not self._begun:
                self._starter.kill()  # it may still be importing
            self._starter.close()
            self._starter = None

    def run(self, jobs: Iterable[Job | None]) -> Iterator[Ended]:
        """Run all jobs; yields each one when it has ended.

        `jobs` may be endless: it is asked for the next one only when a slot is free. None says
        that there is none now: it is asked again when a job has ended, and at each tick. After a
        signal nothing more is started, and when all have ended, Stopped is raised.
        """
        self._supply, self._dry = iter(jobs), False
        with self._listening():
            try:
                self._fill()
                while self._running or not (self._dry or self.signum):
                    yield from self._next_ends()
                    self._fill()
            finally:
                self._end_all()
                self.close()
        if self.signum is not None:
            raise Stopped(self.signum)

    # -- starting -------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give each free slot the next job."""
        while self._free and self.signum is None and not self._dry:
            self.prepare()
            try:
                job = next(self._supply)
            except StopIteration:
                self._dry = True
                return
            if job is None or self.signum is not None:
                return
            self._start(job, self._slots[self._free.pop(0)])

    def _start(self, job: Job, slot: Slot) -> None:
        assert self._starter is not None
        own = {ANNOUNCE: str(job.announcement)}
        environment = {**os.environ, **slot.environment(), **job.env, **own}
        self._running[slot.number] = Running(job, slot, kills())
        self._starter.start(slot.number, (*job.argv, *slot.words()), environment, job.log)

    # -- ending ---------------------------------------------------------------------------------

    def _next_ends(self) -> Iterator[Ended]:
        """Those that end next, unless none does until the next tick."""
        found = self._wait()
        for ended in found:
            if ended.job.on_end is not None:
                ended.job.on_end(ended)
            yield ended
        if not found:
            self.on_tick()

    def _wait(self) -> list[Ended]:
        try:
            event = self._events.get(timeout=self._every)
        except queue.Empty:
            event = None
        if isinstance(event, Begun):
            self._note(event)
        elif isinstance(event, Over):
            return [self._settled(self._running[event.number], event.status)]
        elif isinstance(event, Gone):
            return self._without_starter(event)
        elif self._deadline is not None and time.monotonic() > self._deadline:
            self._kill_all()
        return []

    def _note(self, event: Begun) -> None:
        self._begun = True
        running = self._running[event.number]
        running.pid, running.began = event.pid, time.monotonic()
        if self.signum is not None:  # it came while the process was being made
            _tell(running, self.signum)

    def _settled(self, running: Running, status: int) -> Ended:
        del self._running[running.slot.number]
        self._free = sorted([*self._free, running.slot.number])
        seconds = time.monotonic() - running.began
        starved = status == -signal.SIGKILL and kills() > running.kills
        return Ended(running.job, running.slot, status, seconds, starved)

    def _without_starter(self, event: Gone) -> list[Ended]:
        """The starter was killed, which those that it had started were told of as SIGTERM."""
        self.close()
        end = time.monotonic() + self.patience
        while any(map(_is_there, self.running)) and time.monotonic() < end:
            time.sleep(_LOOK)
        self._kill_all()
        ended = [self._settled(each, -signal.SIGTERM) for each in self.running]
        if not self._begun and self.signum is None:
            said = event.said.splitlines() or ["It said nothing."]
            raise RunError("the process that starts the commands has ended", hint=said[-1])
        return ended

    def _end_all(self) -> None:
        """Leave nothing behind where whoever waits for the next end doesn't any more."""
        if self._running and self.signum is None:
            self.signum = int(signal.SIGTERM)
            self._deadline = time.monotonic() + self.patience
            self._tell_all(signal.SIGTERM)
        while self._running:
            self._wait()

    # -- signals --------------------------------------------------------------------------------

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Handle the signals inside; leave alone those that arrived ignored, as under nohup."""
        before: dict[int, Any] = {}
        for each in ENDING:
            if (current := signal.getsignal(each)) is not signal.SIG_IGN:
                before[each] = current if current is not None else signal.SIG_DFL
                signal.signal(each, self._handle)
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._heard_at < ECHO:  # the same wish: some tell a process and its group
            return
        self._heard, self._heard_at = self._heard + 1, now
        if self.signum is None:
            self.signum = signum
            self._deadline = now + self.patience
        if self._heard >= _BY_FORCE:
            self._kill_all()
            raise Stopped(self.signum)
        self._tell_all(signum)
        if not self._begun and self._starter is not None:
            self._starter.kill()  # it still imports, and nothing has begun
        self._events.put(None)

    def _tell_all(self, signum: int) -> None:
        for each in list(self._running.values()):
            _tell(each, signum)

    def _kill_all(self) -> None:
        for each in list(self._running.values()):
            if each.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(each.pid, signal.SIGKILL)


def _tell(running: Running, signum: int) -> None:
    """Send a signal to the process alone: it tells those that belong to it."""
    if running.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(running.pid, signum)


def _is_there(running: Running) -> bool:
    if running.pid is None:
        return False
    try:
        os.kill(running.pid, 0)
    except ProcessLookupError:
        return False
    return True
