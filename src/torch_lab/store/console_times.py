"""console.times: when the lines of console.log were written, about once a second.

`OFFSET TIME` a line: from that byte of the log on, lines are of that time or later. So the log
itself stays as it was printed, and what is sent to a server late has its true times all the same.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

FORMAT = 1
_HEADER = f"# format: {FORMAT}\n".encode()
_EVERY = 1.0  # seconds
_AT_ONCE = 1 << 20  # bytes


def times_of(log: Path) -> Path:
    """The file with the times of a log: console.times, console.1.times."""
    return log.with_suffix(".times")


class Stamps:
    """Written by the process that writes the log, before the lines that they are of."""

    def __init__(self, log: Path) -> None:
        self._path = times_of(log)
        self._file: int | None = None
        self._next = 0.0

    def before(self, log: int) -> None:
        """Be told that a line is about to be appended to the log of this descriptor.

        A time that can't be written is left out: the line then counts to the one before.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY
        with suppress(OSError):
            self._open()
            if self._file is not None:
                entry = f"{os.fstat(log).st_size} {time.time():.3f}\n"
                os.write(self._file, entry.encode())

    def close(self) -> None:
        """End the file; harmless when done before."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            if os.fstat(self._file).st_size == 0:
                os.write(self._file, _HEADER)


class Line(NamedTuple):
    """A line of a log, without its end; `end` is the offset of what follows it."""

    offset: int
    end: int
    milliseconds: int  # since 1970; rises from line to line
    text: str


class TimedLog:
    """A log that may still grow, as lines with their times.

    The same line always has the same time, and no two lines of a log have the same: they follow
    from the two files and `origin` alone, the time (in seconds) when the run was created, where
    lines begin that have no times; these are a millisecond apart.
    """

    def __init__(self, log: Path, origin: float) -> None:
        self._log = log
        self._offset = 0
        self._milliseconds = int(origin * 1000) - 1
        self._stamps = _Reading(times_of(log))

    def poll(self, after: int = 0, *, ended: bool = False) -> Iterator[Line]:
        """The whole lines that have come since the last time, and end beyond `after`.

        With `ended`, what a process that was killed has left of its last line counts as one.
        What isn't taken from the iterator comes again.
        """
        with suppress(FileNotFoundError), self._log.open("rb") as file:
            file.seek(self._offset)
            while found := file.readlines(_AT_ONCE):
                # Its time is written before a line: read after it, it is there.
                self._stamps.poll()
                for line in found:
                    if not line.endswith(b"\n") and not ended:
                        return
                    start = self._pass(line)
                    if self._offset > after:
                        text = line.removesuffix(b"\n").decode(errors="replace")
                        yield Line(start, self._offset, self._milliseconds, text)

    def _pass(self, line: bytes) -> int:
        """Go on to the line's end; returns where it begins."""
        start, self._offset = self._offset, self._offset + len(line)
        self._milliseconds = max(self._milliseconds + 1, self._stamps.at(start))
        return start


class _Reading:
    """The times of a log, taken in the order of its lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._ahead: deque[tuple[int, int]] = deque()
        self._latest = 0

    def poll(self) -> None:
        """Read what has come since the last time."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                entry = _entry(line)
                if entry is not None:
                    self._ahead.append(entry)

    def at(self, offset: int) -> int:
        """The time, in milliseconds, of the line that begins there; 0 where it isn't known."""
        while self._ahead and self._ahead[0][0] <= offset:
            self._latest = self._ahead.popleft()[1]
        return self._latest


def _entry(line: bytes) -> tuple[int, int] | None:
    """What a line says, if it is one; the header isn't."""
    try:
        offset, moment = line.split()
        return int(offset), int(float(moment) * 1000)
    except (ValueError, OverflowError):
        return None
