"""A run's events on their way: numbers, items, console and machine use, each line once.

Numbers, plots and samples replace each other on the server, so that they may be sent twice. Lines
of a log don't: before some go out, mirror.json says how far; what came of them is asked of the
server by whoever finds that said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch_lab.errors import ServerError
from torch_lab.mirror import events
from torch_lab.mirror.sending.artifacts import Artifacts
from torch_lab.mirror.sending.ledger import Ledger
from torch_lab.mirror.sending.lines import MOST, Batch, Event, Journal, Printed, Stream
from torch_lab.mirror.sending.uploads import Pause
from torch_lab.mirror.server import Server
from torch_lab.recording import items, machine
from torch_lab.store import journal
from torch_lab.store.console_times import Line
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record

_AHEAD = 16  # batches that are announced at once


class NotUploaded(Exception):
    """A file that events show could not be uploaded; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Counts:
    """What was sent, for people."""

    scalars: int = 0
    lines: int = 0
    items: int = 0

    def add(self, sent: list[Event]) -> None:
        """Count what a batch held."""
        for event in sent:
            if event["type"] == "log":
                self.lines += 1
            elif event["type"] == "training_stats_scalar":
                self.scalars += 1
            else:
                self.items += 1


class Flow:
    """All streams of a run into one task."""

    def __init__(
        self,
        server: Server,
        run: RunDirectory,
        record: Record,
        ledger: Ledger,
        upload: events.Upload,
        artifacts: Artifacts,
    ) -> None:
        self._server = server
        self._run = run
        self._record = record
        self._ledger = ledger
        self._upload = upload
        self._artifacts = artifacts
        self._task = ledger.mirror.task_id or ""
        self._said: set[str] = set(ledger.mirror.said)
        self._doubtful = dict(ledger.mirror.in_flight)
        self._origin: float | None = None  # of the machine's use
        self.counts = Counts()
        self.pause = Pause()
        self._metrics = Journal(run.metrics, journal.parse, self._scalars)
        self._media = Journal(run.media, items.parse, self._items)
        self._streams: list[Stream] = [self._metrics, *self._logs(), self._media]
        self._streams.append(Journal(run.machine, machine.parse, self._machine))

    # -- sending -------------------------------------------------------------------------------

    def push(self, until: float, *, ended: bool) -> bool:
        """Send what has come, at most until then; whether more of it waits."""
        self._wipe_superseded()
        more = True
        while more and time.monotonic() < until:
            more = False
            for stream in self._streams:
                more |= self._push(stream, ended=ended)
        return more

    @property
    def left(self) -> int:
        """Bytes of the record that are still to be sent."""
        positions = self._ledger.mirror.positions
        return max(0, sum(stream.left(positions) for stream in self._streams))

    def _push(self, stream: Stream, *, ended: bool) -> bool:
        if stream is self._media and not self.pause.over:
            return False
        try:
            batch = stream.read(self._ledger.mirror.positions, ended=ended)
        except NotUploaded as error:
            self.pause.begin(error.reason)
            self._said = set(self._ledger.mirror.said)
            return False
        if not batch.positions:
            return False
        self._send(batch)
        if stream is self._media:
            self.pause.forget()
        return True

    def _send(self, batch: Batch) -> None:
        new = self._without_known(batch)
        if any(event["type"] == "log" for event in new):
            self._announce(batch)
        if new:
            try:
                self._server.add_events(new)
            except ServerError:
                self._ledger.doubt()
                self._doubtful = dict(self._ledger.mirror.in_flight)
                self._said = set(self._ledger.mirror.said)
                raise
        self.counts.add(new)
        mirror = self._ledger.mirror
        mirror.positions.update(batch.positions)
        mirror.said = sorted(self._said)
        self._ledger.note()

    # -- lines of the log, each once -----------------------------------------------------------

    def _announce(self, batch: Batch) -> None:
        """Have it on disk that these lines, and some more, may have been sent."""
        mirror = self._ledger.mirror
        short = {k: end for k, end in batch.positions.items() if mirror.in_flight.get(k, 0) < end}
        for key, end in short.items():
            ahead = (end - mirror.positions.get(key, 0)) * _AHEAD
            mirror.in_flight[key] = end + ahead
        if short:
            self._ledger.save()

    def _without_known(self, batch: Batch) -> list[Event]:
        """The events but for lines that the server turns out to have."""
        positions = self._ledger.mirror.positions
        doubtful = any(positions.get(k, 0) < self._doubtful.get(k, 0) for k in batch.positions)
        lines = [event for event in batch.events if event["type"] == "log"]
        if not doubtful or not lines:
            return batch.events
        self._ledger.settle()
        known = self._known(lines)
        return [e for e in batch.events if e["type"] != "log" or _identity(e) not in known]

    def _known(self, lines: list[Event]) -> set[tuple[object, ...]]:
        times = [event["timestamp"] for event in lines]
        first, last = min(times), max(times)
        found: set[tuple[object, ...]] = set()
        while True:
            answer = self._server.call(
                "events.get_task_log",
                task=self._task,
                batch_size=MOST,
                navigate_earlier=False,
                from_timestamp=first - 1,
            )["events"]
            found |= {_identity(event) for event in answer}
            latest = max((event["timestamp"] for event in answer), default=last)
            if len(answer) < MOST or latest >= last or latest <= first:
                return found
            first = latest

    # -- what is superseded --------------------------------------------------------------------

    def _wipe_superseded(self) -> None:
        """Delete all events where some that were sent count no more, so that all are sent anew."""
        mirror = self._ledger.mirror
        if not mirror.anew:
            sent = mirror.positions
            if not (self._metrics.superseded(sent) or self._media.superseded(sent)):
                return
            mirror.anew = True
            self._ledger.save()
        if not self._by_agent:  # its console would be lost; most of the rest is overwritten
            self._server.call(
                "events.delete_for_task", task=self._task, allow_locked=True, deadline=60.0
            )
            mirror.said = []
        self._artifacts.doubt()
        mirror.positions, mirror.in_flight, mirror.anew = {}, {}, False
        self._said, self._doubtful = set(mirror.said), {}
        self._ledger.save()

    @property
    def _by_agent(self) -> bool:
        return bool((self._record.queued or {}).get("agent"))

    # -- the record's lines as events ----------------------------------------------------------

    def _logs(self) -> Iterator[Printed]:
        if self._by_agent:  # which sends what is printed
            return
        origin = self._record.created  # `started` may not be known yet: times would change
        for log in consoles(self._run):
            yield Printed(log, origin, partial(self._line, worker=self._worker(log)))

    def _line(self, line: Line, worker: str) -> Event:
        return events.console(self._task, line, worker)

    def _worker(self, log: Path) -> str:
        rank = log.name.removesuffix(".log").partition(".")[2]
        host = self._record.host or "torch-lab"
        return f"{host}:rank{rank}" if rank else host

    def _scalars(self, row: journal.Row) -> Iterator[Event]:
        return events.scalars(self._task, row, self._said, self._worker(Path("console.log")))

    def _items(self, item: items.Item) -> Iterator[Event]:
        if item.kind == "artifact":
            self._artifacts.note(item)
        return events.item(self._task, self._run, item, self._upload)

    def _machine(self, sample: machine.Sample) -> Iterator[Event]:
        if self._origin is None:
            self._origin = machine.began(self._run) or sample.t
        return events.machine(self._task, sample, self._origin)


def consoles(run: RunDirectory) -> list[Path]:
    """The logs of a run, the first rank's first."""
    return sorted(run.path.glob("console*.log"), key=lambda path: (len(path.name), path.name))


def _identity(event: Event) -> tuple[object, ...]:
    return int(event["timestamp"]), event.get("worker"), event.get("msg")
