"""The journal: what was logged, a line for each call, in segments that are only appended to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import MetricSummary
from torch_lab.store.segments import Segment, counting, encode


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
    """

    def __init__(self, run: RunDirectory, after: int) -> None:
        self._ranges: dict[str, list[float]] = {}
        self._turn = threading.Lock()
        self.inherited: dict[str, Row] = {}  # each name's last row before this start
        super().__init__(run.metrics, after, "the journal")
        for row in rows(run):
            self._summarize(row.values)
            self.inherited.update(dict.fromkeys(row.values, row))

    def append(self, batch: int, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write one row, given to the operating system when this returns.

        On StoreError nothing of the row is in the file, and later calls may succeed again.
        """
        row = {"t": round(time.time(), 3), "batch": batch, "step": step, "epoch": epoch}
        with self._turn:
            try:
                line = encode({**row, "values": values})
            except (ValueError, TypeError):
                values = {name: float(value) for name, value in values.items()}
                line = encode({**row, "values": {k: _named(v) for k, v in values.items()}})
            self.write(line)
            self._summarize(values)

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
