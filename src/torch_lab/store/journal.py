"""The journal: what was logged, a line for each call, in segments that are only appended to."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch_lab.errors import StoreError
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import MetricSummary
from torch_lab.store.segments import Segment, counting, encode

MOST_WAITING = 16 << 20  # characters; some hundred thousand rows
_RETRY = 1.0  # seconds
_log = logging.getLogger("torch_lab")


class Row(NamedTuple):
    """What one call logged, after `batch` batches."""

    t: float
    batch: int
    step: int
    epoch: int
    values: dict[str, float]


class Journal(Segment):
    """The segment that this start of the run writes.

    `after` batches were handled when it begins: rows of earlier segments beyond that are
    superseded, because the run goes on from there.

    While nothing can be written, as on a full disk, rows wait in memory; `sync` needs them on
    disk, so that no checkpoint counts without the rows before it.
    """

    def __init__(
        self, run: RunDirectory, after: int, hold: Callable[[], None] = lambda: None
    ) -> None:
        self._ranges: dict[str, list[float]] = {}
        self._turn = threading.Lock()
        self._waiting: list[str] = []
        self._size = 0
        self._next_try = 0.0
        self.inherited: dict[str, Row] = {}  # each name's last row before this start
        super().__init__(run.metrics, after, "the journal", hold)
        for row in rows(run):
            self._summarize(row.values)
            self.inherited.update(dict.fromkeys(row.values, row))

    def append(self, batch: int, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write one row, given to the operating system when this returns, or kept until it can be.

        StoreError when more rows wait than are kept in memory.
        """
        row = {"t": round(time.time(), 3), "batch": batch, "step": step, "epoch": epoch}
        with self._turn:
            try:
                line = encode({**row, "values": values})
            except (ValueError, TypeError):
                values = {name: float(value) for name, value in values.items()}
                line = encode({**row, "values": {k: _named(v) for k, v in values.items()}})
            self._summarize(values)
            if self._waiting:
                self._keep(line)
            else:
                try:
                    self.write(line)
                except StoreError as error:
                    self._begin_to_wait(line, error)

    def sync(self) -> None:
        """Make all rows durable; StoreError while some can't be written."""
        with self._turn:
            self._write_waiting()
        super().sync()

    def _begin_to_wait(self, line: str, error: StoreError) -> None:
        _log.warning("%s; rows wait in memory until the next checkpoint", error.message)
        self._waiting, self._size = [line], len(line)
        self._next_try = time.monotonic() + _RETRY

    def _keep(self, line: str) -> None:
        """Let one more row wait, and try to write them all now and then."""
        self._waiting.append(line)
        self._size += len(line)
        if time.monotonic() < self._next_try and self._size <= MOST_WAITING:
            return
        self._next_try = time.monotonic() + _RETRY
        try:
            self._write_waiting()
        except StoreError:
            if self._size > MOST_WAITING:
                raise

    def _write_waiting(self) -> None:
        if self._waiting:
            self.write("\n".join(self._waiting))
            _log.warning("%s is written again; no row is lost", self.path)
            self._waiting, self._size = [], 0

    @property
    def summary(self) -> dict[str, MetricSummary]:
        """Each metric's last, least and greatest value over the rows of the run that count."""
        with self._turn:
            return {name: MetricSummary(*values) for name, values in self._ranges.items()}

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
    return counting(run.metrics, parse)


def parse(content: dict[str, Any]) -> Row | None:
    """The row that a line's content is, if it is one."""
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
