"""What has come in a run's files since they were last read, in batches of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from torch_lab.store.console_times import Line, TimedLog
from torch_lab.store.failures import storing
from torch_lab.store.segments import content_of, limits, segments

MOST = 1000  # events in a batch
LARGEST = 4 << 20  # characters of text in a batch
_TAIL = 65536

T = TypeVar("T")
Event = dict[str, Any]
Positions = Mapping[str, int]


@dataclass
class Batch:
    """Events, and how far each file has been read when they are acknowledged."""

    events: list[Event] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether it holds enough for one request."""
        return len(self.events) >= MOST or self.size >= LARGEST

    def add(self, events: Iterable[Event]) -> None:
        """Take more events."""
        for event in events:
            self.events.append(event)
            self.size += len(event.get("msg") or event.get("plot_str") or "")


class Stream(Protocol):
    """A part of a run's record that grows."""

    def read(self, positions: Positions, *, ended: bool) -> Batch:
        """What comes after these positions; no positions where nothing does."""

    def left(self, positions: Positions) -> int:
        """Bytes that are still to be read."""


class Journal(Generic[T]):
    """The lines that count in a folder of segments, the last of which may still be written."""

    def __init__(
        self,
        folder: Path,
        parse: Callable[[dict[str, Any]], T | None],
        events: Callable[[T], Iterable[Event]],
    ) -> None:
        self._folder = folder
        self._parse = parse
        self._events = events
        self._over: set[str] = set()  # segments of which nothing more counts

    def read(self, positions: Positions, *, ended: bool) -> Batch:
        """The next events of whole lines."""
        batch = Batch()
        found = segments(self._folder)
        for segment, limit in zip(found, limits(found), strict=True):
            if batch.full:
                break
            key = self._key(segment)
            start = positions.get(key, 0)
            with storing("read", segment), segment.open("rb") as file:
                file.seek(start)
                end = self._take(file, limit, batch, key)
            if end > start:
                batch.positions[key] = end
        return batch

    def left(self, positions: Positions) -> int:
        """Bytes that are still to be read."""
        found = {self._key(segment): segment for segment in segments(self._folder)}
        return sum(
            _size(segment) - positions.get(key, 0)
            for key, segment in found.items()
            if key not in self._over
        )

    def superseded(self, positions: Positions) -> bool:
        """Whether a line that was sent counts no more, since the run went on from before it."""
        found = segments(self._folder)
        return any(
            self._beyond(segment, positions.get(self._key(segment), 0), limit)
            for segment, limit in zip(found, limits(found), strict=True)
        )

    def _key(self, segment: Path) -> str:
        return f"{self._folder.name}/{segment.name}"

    def _take(self, file: BinaryIO, limit: float, batch: Batch, key: str) -> int:
        """Read until the batch is full; returns where what was read ends.

        That is before the first line beyond the limit: so what lies before it was sent.
        """
        self._over.discard(key)
        while not batch.full:
            line = file.readline()
            if not line.endswith(b"\n"):  # its end is still to come, or it was torn
                return file.tell() - len(line)
            made = self._made(line)
            if made is None:
                continue
            if _batch_of(made) > limit:
                self._over.add(key)
                return file.tell() - len(line)
            batch.add(self._events(made))
        return file.tell()

    def _made(self, line: bytes) -> T | None:
        content = content_of(line)
        return None if content is None else self._parse(content)

    def _beyond(self, segment: Path, end: int, limit: float) -> bool:
        """Whether the last line before `end` is beyond the limit: they come in order."""
        if not end or limit == float("inf"):
            return False
        with storing("read", segment), segment.open("rb") as file:
            lines = (self._made(line) for line in _backwards(file, end))
            last = next((made for made in lines if made is not None), None)
        return last is not None and _batch_of(last) > limit


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


class Printed:
    """The lines of a log; what was read stays the next thing until it is acknowledged."""

    def __init__(self, log: Path, origin: float, event: Callable[[Line], Event]) -> None:
        self._path = log
        self._origin = origin
        self._event = event
        self._start = self._end = 0
        self._batch = Batch()
        self._log = TimedLog(log, origin)

    def read(self, positions: Positions, *, ended: bool) -> Batch:
        """The next lines; of a run that has ended, the torn last one too."""
        position = positions.get(self._path.name, 0)
        if position == self._start and self._batch.positions:
            return self._batch
        if position != self._end:
            self._log = TimedLog(self._path, self._origin)
        self._start = self._end = position
        self._batch = Batch()
        self._take(ended)
        return self._batch

    def left(self, positions: Positions) -> int:
        """Bytes that are still to be read."""
        return _size(self._path) - positions.get(self._path.name, 0)

    def _take(self, ended: bool) -> None:
        lines = self._log.poll(self._start, ended=ended)
        while not self._batch.full and (line := next(lines, None)) is not None:
            self._batch.add([self._event(line)])
            self._end = self._batch.positions[self._path.name] = line.end


def _batch_of(made: object) -> float:
    batch = getattr(made, "batch", None)  # machine use belongs to none, and always counts
    return float("-inf") if batch is None else float(batch)


def _backwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The lines before `end`, the last one first."""
    start, rest = end, b""
    while start > 0:
        size = min(_TAIL, start)
        start -= size
        file.seek(start)
        first, *lines = (file.read(size) + rest).split(b"\n")
        yield from (line for line in reversed(lines) if line)
        rest = first
    yield rest
