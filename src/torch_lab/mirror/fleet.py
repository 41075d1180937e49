"""Runs that are being sent to a server, each with its lock held and its turn taken."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from torch_lab.errors import (
    LockLost,
    RunLocked,
    ServerError,
    ServerUnreachable,
    StoreError,
)
from torch_lab.mirror import state
from torch_lab.mirror.backlog import Candidate, look_at
from torch_lab.mirror.finding import making_sense
from torch_lab.mirror.sending import Sending, Turn
from torch_lab.mirror.sending.target import by_tag, status_of
from torch_lab.mirror.server import Server
from torch_lab.store.heartbeat import Heartbeat
from torch_lab.store.host import Liveness
from torch_lab.store.lock import Lock, holder_of, is_alive
from torch_lab.store.paths import RunDirectory

_PAUSES = (5.0, 300.0)  # seconds after a failure, at first and at most

Runs = Callable[[str], "RunDirectory | None"]  # the local run of an id


@dataclass
class Ship:
    """A run that is being sent."""

    sending: Sending
    lock: Lock
    heartbeat: Heartbeat
    pause: float = _PAUSES[0]
    not_before: float = 0.0
    problem: str | None = None

    @property
    def run(self) -> RunDirectory:
        """The run's directory."""
        return self.sending.run

    @property
    def due(self) -> bool:
        """Whether its turn may be taken: not soon after a failure."""
        return time.monotonic() >= self.not_before


class Fleet:
    """All runs that this process sends; a failure of one is not the others'."""

    def __init__(
        self, server: Server, runs: Runs, lost_after: float, say: Callable[[str], None]
    ) -> None:
        self.server = server
        self.ships: dict[str, Ship] = {}
        self._runs = runs
        self._lost_after = lost_after
        self._say = say
        self._parents: dict[str, str] = {}

    def board(self, candidate: Candidate) -> Ship:
        """Begin to send a run; RunLocked where another process does that."""
        run = candidate.run
        lock = _lock(run, self._lost_after)
        heartbeat = Heartbeat(run.mirror_lock, lock.check)
        heartbeat.start()
        sending = Sending(
            self.server, run, lock, lost_after=self._lost_after, parent_of=self.parent_of
        )
        sending.live = candidate.live
        ship = self.ships[run.name] = Ship(sending, lock, heartbeat)
        return ship

    def turn(self, ship: Ship, seconds: float) -> Turn | None:
        """Send a slice; None where that failed, which `ship.problem` tells.

        ServerUnreachable is of all, and raised.
        """
        try:
            turn = ship.sending.turn(seconds)
            if ship.sending.aborted():
                self._say(f"{ship.run.name}: {_stop_training(ship.run)}")
        except ServerUnreachable:
            raise
        except LockLost as error:  # another process sends it now
            ship.problem = error.message
            self.leave(ship)
            return None
        except (ServerError, StoreError, OSError) as error:
            self._failed(ship, str(getattr(error, "message", error)))
            return None
        except Exception as error:  # noqa: BLE001  the others are sent, whatever this one holds
            self._say(traceback.format_exc().rstrip())
            self._failed(ship, f"{type(error).__name__}: {error}")
            return None
        ship.problem, ship.pause = ship.sending.mirror.problem, _PAUSES[0]
        return turn

    def hurry(self) -> None:
        """Try again at once whatever has failed."""
        for ship in self.ships.values():
            ship.not_before, ship.pause = 0.0, _PAUSES[0]
            ship.sending.hurry()

    def leave(self, ship: Ship) -> None:
        """End sending a run; another process may then."""
        self.ships.pop(ship.run.name, None)
        with suppress(StoreError, LockLost, OSError):  # what was not noted is found out again
            ship.sending.close()
        ship.heartbeat.stop()
        ship.lock.release()

    def dissolve(self) -> None:
        """End sending all runs."""
        for ship in list(self.ships.values()):
            self.leave(ship)

    def parent_of(self, run_id: str) -> str | None:
        """The task of the run that another started from, if the server has one."""
        if run_id not in self._parents:
            found = self._task_here(run_id) or self._task_there(run_id)
            if found is None:
                return None
            self._parents[run_id] = found
        return self._parents[run_id]

    def _task_here(self, run_id: str) -> str | None:
        run = self._runs(run_id)
        if run is None:
            return None
        with suppress(StoreError):
            found = look_at(run, self._lost_after)
            fetched, mirror = found.record.fetched or {}, found.mirror
            if fetched.get("server") == self.server.host:
                return str(fetched.get("task_id"))
            if mirror is not None and mirror.server == self.server.host and mirror.task_id:
                return mirror.task_id if status_of(self.server, mirror.task_id) else None
        return None

    def _task_there(self, run_id: str) -> str | None:
        with making_sense(self.server):
            found = by_tag(self.server, run_id) or status_of(self.server, run_id)
            return None if found is None else str(found["id"])

    def _failed(self, ship: Ship, problem: str) -> None:
        ship.problem = problem
        ship.not_before = time.monotonic() + ship.pause
        ship.pause = min(2 * ship.pause, _PAUSES[1])


def sender_of(run: RunDirectory, lost_after: float) -> str | None:
    """Which process sends a run now, in words; None where none does."""
    place = run.mirror_lock
    holder = holder_of(place)
    alive = place.lock.exists() and is_alive(place, holder, lost_after)
    return str(holder or "another process") if alive else None


def _lock(run: RunDirectory, lost_after: float) -> Lock:
    """The lock of the run's mirror, without waiting for a sign of life of another."""
    busy = sender_of(run, lost_after)
    if busy is not None:
        raise RunLocked(f"{run.name} is being sent by {busy}")
    place = run.mirror_lock
    try:
        place.path.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"can't write to {run.path}: {error.strerror or error}") from error
    return Lock.acquire(place, lost_after=lost_after)


def _stop_training(run: RunDirectory) -> str:
    """End a training as its web page asked to, if it is certain which process it is."""
    holder = holder_of(run)
    if holder is None or holder.process.liveness() is not Liveness.ALIVE:
        where = f" on {holder.process.host}" if holder else ""
        return f"aborted in ClearML, but its process{where} can't be seen from here"
    try:
        os.kill(holder.process.pid, signal.SIGTERM)
    except OSError as error:
        return f"aborted in ClearML, but it can't be stopped: {error.strerror or error}"
    return "aborted in ClearML: it is told to stop"


def forget(run: RunDirectory, server: str) -> None:
    """Have a run sent anew, as if this server had never heard of it."""
    state.write(run, state.Mirror(server=server))
