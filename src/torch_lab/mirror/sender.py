"""`lab sync --follow`: the one process of a host that sends an artifacts folder's runs.

It lives as long as something is trained, and a while longer for what is left. It never loops
without a pause, and a server that is away costs it one question now and then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from torch_lab.errors import RunLocked, ServerError, ServerRefused, ServerUnreachable, StoreError
from torch_lab.mirror import senders
from torch_lab.mirror.backlog import Backlog, Candidate, look_at
from torch_lab.mirror.configured import configured
from torch_lab.mirror.fleet import Fleet
from torch_lab.mirror.senders import State
from torch_lab.mirror.sending import Turn
from torch_lab.mirror.server import Server
from torch_lab.settings import Settings
from torch_lab.store.heartbeat import Heartbeat
from torch_lab.store.host import Liveness, Process, process_start, this_process
from torch_lab.store.lock import Lock, holder_of

_TICK = 0.5  # seconds between two turns when there was nothing to send
_LOOK = 1.0  # seconds between two looks for runs
_SLICE = 1.0  # seconds that one run may take before it is the others' turn
_PAUSES = (1.0, 30.0)  # seconds before the server is asked again, at first and at most
_ASIDE = 10.0  # seconds before another process' run is looked at again
_MOST = 4  # ended runs that are sent at a time


class Sender:
    """Sends what there is and what comes, until nothing is left to send or to wait for."""

    def __init__(self, settings: Settings, say: Callable[[str], None], beside: int | None) -> None:
        self._settings = settings
        self._say = say
        self._beside = _process(beside)
        self._backlog = Backlog(settings.artifacts, settings.lost_after)
        self._fleet: Fleet | None = None
        self._state = State(state="connecting", since=time.time(), pid=os.getpid())
        self._pause, self._next = _PAUSES[0], 0.0
        self._aside: dict[str, float] = {}
        self._waiting: list[Candidate] = []
        self._looked = 0.0
        self._told: set[str] = set()  # damaged runs
        self._needed = time.monotonic()  # when something was last sent, or trained
        self._hurried = senders.hurried(settings.artifacts)

    def follow(self) -> None:
        """Send until there is no reason to stay."""
        self._tell(self._state)
        try:
            while True:
                if time.monotonic() - self._looked >= _LOOK:
                    self._look()
                    if self._over() or self._gives_way():
                        return
                if not self._round():
                    time.sleep(_TICK)
        finally:
            if self._fleet is not None:
                self._fleet.dissolve()

    # -- which runs, and for how long ------------------------------------------------------------

    def _look(self) -> None:
        self._looked = time.monotonic()
        found = self._backlog.look()
        self._waiting = _wanted(found, self._backlog, self._settings.lost_after)
        self._say_damaged()
        if self._fleet is not None:
            for ship in list(self._fleet.ships.values()):
                if not ship.run.record_file.exists():  # the run was deleted
                    self._fleet.leave(ship)
        if self._fleet is not None:
            self._board(self._fleet)

    def _say_damaged(self) -> None:
        for name, problem in self._backlog.damaged.items():
            if name not in self._told:
                self._told.add(name)
                self._say(f"{name}: {problem}")

    def _board(self, fleet: Fleet) -> None:
        ended = sum(not ship.sending.live for ship in fleet.ships.values())
        for each in self._waiting:
            name = each.run.name
            aside = time.monotonic() < self._aside.get(name, 0.0)
            if name in fleet.ships or aside or each.elsewhere:
                continue
            if each.live or ended < _MOST:
                ended += not each.live
                try:
                    fleet.board(each)
                except (RunLocked, StoreError) as error:
                    self._aside[name] = time.monotonic() + _ASIDE
                    self._say(error.message)

    def _over(self) -> bool:
        """Whether nothing is left, or nothing moves any more."""
        now = time.monotonic()
        if any(each.live and not each.elsewhere for each in self._waiting) or self._beside_lives():
            self._needed = now
            return False
        # Those that others started from are on board alone once these are sent.
        left = bool(self._waiting or (self._fleet and self._fleet.ships))
        return not left or now - self._needed > self._settings.sync_patience

    def _gives_way(self) -> bool:
        """Whether to end for another: whoever is in a hurry may know a server that answers."""
        asked = senders.hurried(self._settings.artifacts)
        if asked == self._hurried:
            return False
        self._hurried = asked
        if self._state.state in senders.AWAY:
            self._say("gives way to another sender")
            return True
        if self._fleet is not None:
            self._fleet.hurry()
        return False

    def _beside_lives(self) -> bool:
        return self._beside is not None and self._beside.liveness() is Liveness.ALIVE

    # -- sending -------------------------------------------------------------------------------

    def _round(self) -> bool:
        """Every run's turn; whether any of them has more to send at once."""
        if self._fleet is None and not self._connect():
            return False
        fleet = self._fleet
        assert fleet is not None
        more = False
        try:
            for ship in list(fleet.ships.values()):
                if ship.due:
                    before = ship.problem
                    turn = fleet.turn(ship, _SLICE)
                    if ship.problem not in (None, before):
                        self._say(f"{ship.run.name}: {ship.problem}")
                    more |= turn is Turn.MORE
                    if turn is Turn.DONE:
                        self._say(f"{ship.run.name}: sent, {ship.sending.mirror.page}")
                        fleet.leave(ship)
                    if turn is not None and ship.problem is None:
                        self._needed = time.monotonic()
        except ServerUnreachable as error:
            self._lost(error)
            return False
        if self._state.state != "connected":
            self._connected(fleet.server)
        return more

    def _connect(self) -> bool:
        if time.monotonic() < self._next:
            return False
        try:
            server = Server.connect()
        except ServerError as error:
            self._lost(error)
            return False
        runs = self._backlog.runs.get
        self._fleet = Fleet(server, runs, self._settings.lost_after, self._say)
        self._connected(server)
        self._board(self._fleet)
        return True

    def _connected(self, server: Server) -> None:
        self._pause = _PAUSES[0]
        self._tell(State("connected", None, time.time(), server.host, os.getpid()))

    def _lost(self, error: ServerError) -> None:
        """Say why nothing is sent, and ask again later; the session is made anew."""
        kind = "unreachable" if isinstance(error, ServerUnreachable) else "unconfigured"
        if isinstance(error, ServerRefused) or (kind == "unconfigured" and configured()):
            kind = "refused"
        self._next = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _PAUSES[1])
        since = self._state.since if self._state.state == kind else time.time()
        self._tell(replace(self._state, state=kind, problem=error.message, since=since))
        if self._fleet is not None:
            self._fleet.dissolve()
            self._fleet = None

    def _tell(self, state: State) -> None:
        if (state.state, state.problem) != (self._state.state, self._state.problem):
            self._say(state.state + (f": {state.problem}" if state.problem else ""))
        self._state = state
        senders.write_state(self._settings.artifacts, state)


def follow(settings: Settings, say: Callable[[str], None], beside: int | None) -> None:
    """Be this host's sender for the project's runs, unless there is one."""
    place = senders.home(settings.artifacts)
    if senders.lives(settings.artifacts, settings.lost_after):
        say(f"{holder_of(place) or 'another process'} sends this folder's runs")
        return
    place.path.mkdir(parents=True, exist_ok=True)
    try:
        lock = Lock.acquire(place, lost_after=settings.lost_after)
    except RunLocked:  # another one was faster
        return
    heartbeat = Heartbeat(place, lock.check)
    heartbeat.start()
    try:
        Sender(settings, say, beside).follow()
    finally:
        heartbeat.stop()
        lock.release()


def _process(pid: int | None) -> Process | None:
    """A process of this machine; a zombie that nobody has waited for is none."""
    started = "dead" if pid is None else process_start(pid)
    if pid is None or started == "dead":
        return None
    return replace(this_process(), pid=pid, started=started)


def _wanted(found: list[Candidate], backlog: Backlog, lost_after: float) -> list[Candidate]:
    """The runs that are to be sent of themselves, and what they started from, before them."""
    wanted: dict[str, Candidate] = {}
    for each in found:
        if each.record.sync and each.ours and not each.done():
            for one in [*ancestors(each, backlog, lost_after), each]:
                wanted.setdefault(one.run.name, one)
        else:
            backlog.settle(each)
    return list(wanted.values())


def ancestors(candidate: Candidate, backlog: Backlog, lost_after: float) -> list[Candidate]:
    """The local runs that a run goes back to and that no server has, the first one first."""
    line: list[Candidate] = []
    current, known = candidate, {candidate.record.id}
    while current.record.parent is not None and current.record.parent.id not in known:
        run = backlog.runs.get(current.record.parent.id)
        known.add(current.record.parent.id)
        try:
            current = look_at(run, lost_after) if run else current
        except StoreError:
            break
        if run is None or current.done() or not current.ours:
            break
        line.insert(0, current)
    return line
