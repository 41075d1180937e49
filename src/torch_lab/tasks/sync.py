"""`lab sync`: what a ClearML server does not have yet is sent, and a line says of each run how."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch_lab.errors import RunLocked, ServerUnreachable, StoreError, UsageError
from torch_lab.mirror import senders
from torch_lab.mirror.backlog import Backlog, Candidate, look_at
from torch_lab.mirror.fleet import Fleet, Ship, forget, sender_of
from torch_lab.mirror.sender import ancestors
from torch_lab.mirror.sending import Sent, Turn
from torch_lab.mirror.server import Server
from torch_lab.mirror.state import Mirror
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.text import format_size, plural

_SLICE = 0.5  # seconds between two looks at how far it is
_TICK = 0.1  # seconds between two looks at an upload
_PATIENCE = 10.0  # seconds without any progress after which a run stays pending
_MANY = 500  # tasks that are asked for in one request

Show = Callable[[str], None]


class Sync:
    """Sends runs one after the other; `say` gets a line a run, `show` how far one is."""

    def __init__(self, settings: Settings, say: Show, show: Show) -> None:
        self._settings = settings
        self._say = say
        self._show = show
        self._backlog = Backlog(settings.artifacts, settings.lost_after)
        self._failed = False
        self._up_to_date = 0

    def run(self, words: Sequence[str]) -> int:
        """Send the named runs, or all; the exit status."""
        found = self._backlog.look()
        chosen = [self._named(word) for word in words] if words else found
        if not words:
            for name, problem in self._backlog.damaged.items():
                self._pending(name, problem)
        server = Server.connect()
        fleet = Fleet(server, self._backlog.runs.get, self._settings.lost_after, self._say)
        ordered = self._in_order(chosen)
        try:
            self._send_all(fleet, ordered, named=bool(words))
        finally:
            fleet.dissolve()
        if self._up_to_date and not words:
            self._say(f"{plural(self._up_to_date, 'run')} up to date")
        elif not ordered and not self._failed:
            self._say(f"no runs to send in {self._settings.artifacts}")
        return int(self._failed)

    # -- which runs ----------------------------------------------------------------------------

    def _named(self, word: str) -> Candidate:
        artifacts, lost_after = self._settings.artifacts, self._settings.lost_after
        stored, checkpoint = find.resolve(word, artifacts, cwd=Path.cwd(), lost_after=lost_after)
        if checkpoint is not None:
            raise UsageError(
                f"lab sync sends whole runs, not {word}", hint=f"`lab sync {stored.directory.name}`"
            )
        candidate = look_at(stored.directory, lost_after)
        if candidate.record.fetched is not None:
            raise UsageError(f"{stored.directory.name} was fetched from a server: it is there")
        if not candidate.ours:
            why = f"is {candidate.status}" if candidate.mirror is None else "has a task of its own"
            raise UsageError(f"{stored.directory.name} {why}: there is nothing to send")
        return candidate

    def _in_order(self, chosen: Sequence[Candidate]) -> list[Candidate]:
        """Each run once, after those it goes back to."""
        ordered: dict[str, Candidate] = {}
        for each in chosen:
            line = ancestors(each, self._backlog, self._settings.lost_after)
            for one in [*line, each]:
                ordered.setdefault(one.run.name, one)
        return [each for each in ordered.values() if each.ours]

    def _send_all(self, fleet: Fleet, runs: Sequence[Candidate], *, named: bool) -> None:
        done = [each for each in runs if each.done(fleet.server.host)]
        gone = _without_task(fleet.server, done)
        for position, each in enumerate(runs):
            try:
                self._one(fleet, each, gone=gone.get(each.run.name), named=named, done=each in done)
            except ServerUnreachable as error:
                for rest in runs[position:]:
                    if rest not in done:
                        self._pending(rest.run.name, error.message)
                return

    def _one(
        self, fleet: Fleet, each: Candidate, *, gone: str | None, named: bool, done: bool
    ) -> None:
        name = each.run.name
        if gone and not named:
            self._say(f"{name}: was sent, but its task {gone}; `lab sync {name}` sends it again")
        elif done and not gone:
            self._up_to_date += 1
            if named:
                self._say(f"{name}: up to date, {_page(each.mirror)}")
        else:
            self._send(fleet, each, anew=gone is not None)

    # -- one run -------------------------------------------------------------------------------

    def _send(self, fleet: Fleet, each: Candidate, *, anew: bool) -> None:
        try:
            if anew:
                forget(each.run, fleet.server.host)
            ship = fleet.board(each)
        except RunLocked:
            self._watch(fleet, each)
            return
        except StoreError as error:
            self._pending(each.run.name, error.message)
            return
        try:
            self._say_how(ship, self._sail(fleet, ship))
        finally:
            fleet.leave(ship)

    def _sail(self, fleet: Fleet, ship: Ship) -> Turn | None:
        """Send until all is sent, or nothing moves any more."""
        moved, before = time.monotonic(), 0
        while True:
            turn = self._turn(fleet, ship, moved)
            if turn in (None, Turn.DONE):
                return turn
            self._show(f"{ship.run.name}: {_left(ship.sending.mirror)}")
            progress = _amount(ship.sending.sent)
            if turn is Turn.MORE or progress != before or ship.sending.uploading:
                moved, before = time.monotonic(), progress
            elif (
                ship.sending.live and not ship.sending.mirror.problem
            ) or time.monotonic() - moved > _PATIENCE:
                return turn
            if turn is Turn.WAITING:
                time.sleep(_TICK)

    def _turn(self, fleet: Fleet, ship: Ship, moved: float) -> Turn | None:
        """A slice; a server that is away for a moment is asked again."""
        while True:
            try:
                return fleet.turn(ship, _SLICE)
            except ServerUnreachable:
                if time.monotonic() - moved > _PATIENCE:
                    raise
                time.sleep(1.0)

    def _watch(self, fleet: Fleet, each: Candidate) -> None:
        """Wait while another process sends the run, and go on with it should that end."""
        name, lost_after = each.run.name, self._settings.lost_after
        seen, moved = b"", time.monotonic()
        senders.hurry(self._settings.artifacts)
        while (sender := sender_of(each.run, lost_after)) is not None:
            now = look_at(each.run, lost_after)
            if now.live:
                self._say(f"{name}: is being trained, and sent as it goes by {sender}")
                return
            content = _content(each.run)
            if content != seen:
                seen, moved = content, time.monotonic()
            elif time.monotonic() - moved > _PATIENCE:
                self._pending(name, f"{sender} goes on sending it ({_standing(now.mirror)})")
                return
            self._show(f"{name}: {sender} sends it, {_left(now.mirror)}")
            time.sleep(_TICK)
        now = look_at(each.run, lost_after)
        if now.done(fleet.server.host):
            self._say(f"{name}: sent by another process, {_page(now.mirror)}")
        else:
            self._send(fleet, now, anew=False)

    # -- what people are told ------------------------------------------------------------------

    def _say_how(self, ship: Ship, turn: Turn | None) -> None:
        mirror, name = ship.sending.mirror, ship.run.name
        what = summary(ship.sending.sent)
        if turn is Turn.DONE:
            self._say(f"{name}: {f'sent {what}' if what else 'up to date'}, {_page(mirror)}")
        elif ship.sending.live and turn is Turn.WAITING:
            self._say(f"{name}: sent {what or 'nothing new'}; it is still being trained")
        else:
            problem = ship.problem or mirror.problem or "the server takes no more of it"
            self._pending(name, problem + (f" (sent {what})" if what else ""))

    def _pending(self, name: str, why: str) -> None:
        self._failed = True
        self._say(f"{name}: pending: {why}")


def summary(sent: Sent) -> str:
    """What was sent of a run, in words."""
    counts = sent.events
    parts = [
        (counts.scalars, "scalar", "scalars"),
        (counts.lines, "line of the log", "lines of the log"),
        (counts.items, "item", "items"),
        (len(sent.artifacts), "artifact", "artifacts"),
    ]
    words = [f"{count:,} {one if count == 1 else many}" for count, one, many in parts if count]
    words += [f"checkpoint {name} ({format_size(size)})" for name, size in sent.checkpoints]
    return ", ".join(words)


def _without_task(server: Server, done: Sequence[Candidate]) -> dict[str, str]:
    """What became of the task of each run that was sent and whose task is empty or gone."""
    known: dict[str, Any] = {}
    ids = [each.mirror.task_id for each in done if each.mirror]
    wanted = ["id", "status"]
    for start in range(0, len(ids), _MANY):
        some = ids[start : start + _MANY]
        found = server.call("tasks.get_all", id=some, only_fields=wanted, page_size=_MANY, page=0)
        known |= {task["id"]: task.get("status") for task in found["tasks"]}
    gone: dict[str, str] = {}
    for each in done:
        task = each.mirror.task_id if each.mirror else None
        if task not in known:
            gone[each.run.name] = "is gone from the server"
        elif known[task] == "created":  # a run's end was sent, so it was more than that
            gone[each.run.name] = "was reset on the server"
    return gone


def _amount(sent: Sent) -> int:
    events = sent.events
    files = len(sent.checkpoints) + len(sent.artifacts)
    return events.scalars + events.lines + events.items + files


def _left(mirror: Mirror | None) -> str:
    rest = mirror.left if mirror else {}
    text = ", ".join(f"{count} {what}" for what, count in rest.items())
    return f"{text} left" if text else "nearly done"


def _standing(mirror: Mirror | None) -> str:
    """What stands in the way of the rest, or how much it is."""
    return (mirror.problem if mirror else None) or _left(mirror)


def _page(mirror: Mirror | None) -> str:
    return (mirror.page or mirror.task_id or "") if mirror else ""


def _content(run: RunDirectory) -> bytes:
    try:
        return run.mirror_file.read_bytes()
    except OSError:
        return b""
