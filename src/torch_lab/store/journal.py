"""The journal: what was logged, a line for each call, in segments that are only appended to."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch_lab.errors import StoreError
from torch_lab.store.failures import store_error, storing
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import MetricSummary
from torch_lab.utils.files import fsync_directory

FORMAT = 1
_log = logging.getLogger("torch_lab")
_SEGMENT = re.compile(r"(\d{4,})\.jsonl", re.ASCII)
_NAMED_LINES = 3


class Row(NamedTuple):
    """What one call logged, after `batch` batches."""

    t: float
    batch: int
    step: int
    epoch: int
    values: dict[str, float]


class Journal:
    """The segment that this start of the run writes.

    `after` batches were handled when it begins: rows of earlier segments beyond that are
    superseded, because the run goes on from there.
    """

    def __init__(self, run: RunDirectory, after: int) -> None:
        self._ranges: dict[str, list[float]] = {}
        self._turn = threading.Lock()
        self._encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
        with storing("open the journal in", run.metrics):
            run.metrics.mkdir(exist_ok=True)
            self._descriptor, self.path = _create_segment(run.metrics)
            self._whole = 0
            try:
                self._write(self._encode(_header(after)).encode() + b"\n")
                fsync_directory(run.metrics)
            except (OSError, StoreError):
                self.path.unlink(missing_ok=True)
                raise
        for row in rows(run):
            self._summarize(row.values)

    def append(self, batch: int, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write one row, given to the operating system when this returns.

        On StoreError nothing of the row is in the file, and later calls may succeed again.
        """
        row = {"t": round(time.time(), 3), "batch": batch, "step": step, "epoch": epoch}
        with self._turn:
            try:
                line = self._encode({**row, "values": values})
            except (ValueError, TypeError):
                values = {name: float(value) for name, value in values.items()}
                line = self._encode({**row, "values": {k: _named(v) for k, v in values.items()}})
            self._write(line.encode() + b"\n")
            self._summarize(values)

    def sync(self) -> None:
        """Make all rows durable."""
        with storing("flush", self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Make all rows durable and end the segment; harmless when done before."""
        if self._descriptor < 0:
            return
        try:
            self.sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def summary(self) -> dict[str, MetricSummary]:
        """Each metric's last, least and greatest value over the rows of the run that count."""
        with self._turn:
            return {name: MetricSummary(*values) for name, values in self._ranges.items()}

    def _write(self, line: bytes) -> None:
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            # This process alone writes here: whatever is beyond the last whole line is the
            # beginning of this one. Cutting it off needs no space.
            os.ftruncate(self._descriptor, self._whole)
            raise store_error("write to", self.path, error) from error
        self._whole += len(line)

    def _summarize(self, values: Mapping[str, float]) -> None:
        ranges = self._ranges
        for name, value in values.items():
            known = ranges.get(name)
            if known is None:
                ranges[name] = [value, value, value]
                continue
            known[0] = value
            # Written so that a NaN gives way to a number, and never replaces one.
            if not known[1] <= value and value == value:
                known[1] = value
            if not known[2] >= value and value == value:
                known[2] = value


def rows(run: RunDirectory) -> Iterator[Row]:
    """The rows that count, in the order in which they were written.

    A torn last line is passed over; other lines that are no rows are named in a warning.
    """
    segments = _segments(run.metrics)
    limits: list[float] = []
    limit = math.inf
    for segment in reversed(segments):
        limits.append(limit)
        limit = min(limit, _after(segment))
    for segment, limit in zip(segments, reversed(limits), strict=True):
        for row in _segment_rows(segment):
            if row.batch <= limit:
                yield row


def _header(after: int) -> dict[str, Any]:
    return {"format": FORMAT, "after": after, "t": round(time.time(), 3)}


def _create_segment(folder: Path) -> tuple[int, Path]:
    segments = _segments(folder)
    number = int(segments[-1].stem) + 1 if segments else 0
    while True:
        path = folder / f"{number:04d}.jsonl"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            return os.open(path, flags, 0o644), path
        except FileExistsError:
            number += 1


def _segments(folder: Path) -> list[Path]:
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error("list", folder, error) from error
    found = [name for name in names if _SEGMENT.fullmatch(name)]
    return [folder / name for name in sorted(found, key=lambda name: (len(name), name))]


def _after(segment: Path) -> float:
    """Where the segment begins; one that was cut off before it began supersedes nothing."""
    with storing("read", segment), segment.open("rb") as file:
        header = _object(file.readline())
    if header is None or "format" not in header:
        return math.inf
    if header["format"] != FORMAT:
        raise StoreError(
            f"{segment} was written by a newer torch-lab (format {header['format']})",
            hint="Update torch-lab to read it.",
        )
    after = header.get("after")
    return after if isinstance(after, int) else math.inf


def _segment_rows(segment: Path) -> Iterator[Row]:
    strange: list[int] = []
    doubtful = 0
    with storing("read", segment), segment.open("rb") as file:
        for number, line in enumerate(file, 1):
            if doubtful:
                strange.append(doubtful)
                doubtful = 0
            content = _object(line) if line.endswith(b"\n") else None
            row = None if content is None else _row(content)
            if row is not None:
                yield row
            elif number > 1 or content is None or "format" not in content:
                doubtful = number  # harmless if it is the last one: torn
    if strange:
        named = ", ".join(map(str, strange[:_NAMED_LINES]))
        more = f" and {len(strange) - _NAMED_LINES} more" if len(strange) > _NAMED_LINES else ""
        _log.warning("%s: lines that are no rows are passed over: %s%s", segment, named, more)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _row(content: dict[str, Any]) -> Row | None:
    try:
        values = content["values"]
        for name, value in values.items():
            if type(value) is not float:
                values[name] = float(value)
        batch = content["batch"]
        if type(batch) is not int:
            return None
        return Row(content["t"], batch, content["step"], content["epoch"], values)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _named(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
