"""Files of JSON lines that are only appended to, one for each start of a run.

A start that goes on from a checkpoint begins its segment with the number of batches handled
there: lines of earlier segments beyond that are superseded.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch_lab.errors import StoreError
from torch_lab.store.failures import store_error, storing
from torch_lab.utils.files import fsync_directory

FORMAT = 1
_log = logging.getLogger("torch_lab")
_SEGMENT = re.compile(r"(\d{4,})\.jsonl", re.ASCII)
_NAMED_LINES = 3

encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class Placed(Protocol):
    """What a line stands for: it belongs to a batch."""

    @property
    def batch(self) -> int:
        """The batch that was under way."""


T = TypeVar("T")
P = TypeVar("P", bound=Placed)


class Segment:
    """The segment that this start of the run writes; `after` None: it supersedes nothing.

    `hold` is asked before each write, and may refuse by raising.
    """

    def __init__(
        self,
        folder: Path,
        after: int | None,
        called: str,
        hold: Callable[[], None] = lambda: None,
    ) -> None:
        self._hold = hold
        self._torn = False
        with storing(f"open {called} in", folder):
            folder.mkdir(exist_ok=True)
            self._descriptor, self.path = _create(folder)
            self._whole = 0
            try:
                self.write(encode(_header(after)))
                fsync_directory(folder)
            except (OSError, StoreError):
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
                raise

    def write(self, text: str) -> None:
        """Append a line, or several, given to the operating system when this returns.

        On StoreError nothing of it counts, and later calls may succeed again.
        """
        self._hold()
        lines = text.encode() + b"\n"
        try:
            self._mend()
            rest = lines
            while rest:  # a disk that is nearly full takes a part, and says why with the next one
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._torn = True
            with contextlib.suppress(OSError):  # else before the next line
                self._mend()
            raise store_error("write to", self.path, error) from error
        self._whole += len(lines)

    def _mend(self) -> None:
        """Cut off what there is of a line that could not be written whole; that needs no space.

        This process alone writes here: it is whatever is beyond the last whole line.
        """
        if self._torn:
            os.ftruncate(self._descriptor, self._whole)
            self._torn = False

    def sync(self) -> None:
        """Make all lines durable."""
        with storing("flush", self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Make all lines durable and end the segment; harmless when done before."""
        if self._descriptor < 0:
            return
        try:
            self.sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1


def segments(folder: Path) -> list[Path]:
    """The segments in a folder, oldest first; none where there is no such folder."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error("list", folder, error) from error
    found = [name for name in names if _SEGMENT.fullmatch(name)]
    return [folder / name for name in sorted(found, key=lambda name: (len(name), name))]


def counting(folder: Path, parse: Callable[[dict[str, Any]], P | None]) -> Iterator[P]:
    """What the lines that count stand for, in the order in which they were written.

    A torn last line is passed over; others that `parse` makes nothing of are named in a warning.
    """
    found = segments(folder)
    for segment, limit in zip(found, limits(found), strict=True):
        for each in parsed(segment, parse):
            if each.batch <= limit:
                yield each


def limits(found: Iterable[Path]) -> list[float]:
    """The last batch that counts in each of these segments, by where later ones begin."""
    backwards: list[float] = []
    limit = math.inf
    for segment in reversed(list(found)):
        backwards.append(limit)
        limit = min(limit, _after(segment))
    return backwards[::-1]


def parsed(segment: Path, parse: Callable[[dict[str, Any]], T | None]) -> Iterator[T]:
    """What the lines of one segment stand for, superseded or not."""
    strange: list[int] = []
    doubtful = 0
    with storing("read", segment), segment.open("rb") as file:
        for number, line in enumerate(file, 1):
            if doubtful:
                strange.append(doubtful)
                doubtful = 0
            content = content_of(line) if line.endswith(b"\n") else None
            made = None if content is None else parse(content)
            if made is not None:
                yield made
            elif number > 1 or content is None or "format" not in content:
                doubtful = number  # harmless if it is the last one: torn
    if strange:
        named = ", ".join(map(str, strange[:_NAMED_LINES]))
        more = f" and {len(strange) - _NAMED_LINES} more" if len(strange) > _NAMED_LINES else ""
        _log.warning("%s: lines that are no rows are passed over: %s%s", segment, named, more)


def content_of(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line, if there is one."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _header(after: int | None) -> dict[str, Any]:
    start = {} if after is None else {"after": after}
    return {"format": FORMAT, **start, "t": round(time.time(), 3)}


def _create(folder: Path) -> tuple[int, Path]:
    found = segments(folder)
    number = int(found[-1].stem) + 1 if found else 0
    while True:
        path = folder / f"{number:04d}.jsonl"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            return os.open(path, flags, 0o644), path
        except FileExistsError:
            number += 1


def _after(segment: Path) -> float:
    """Where the segment begins; one that was cut off before it began supersedes nothing."""
    with storing("read", segment), segment.open("rb") as file:
        header = content_of(file.readline())
    if header is None or "format" not in header:
        return math.inf
    if header["format"] != FORMAT:
        raise StoreError(
            f"{segment} was written by a newer torch-lab (format {header['format']})",
            hint="Update torch-lab to read it.",
        )
    after = header.get("after")
    return after if isinstance(after, int) else math.inf
