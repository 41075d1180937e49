"""Where a run that is under way is by now: its journal's last rows, and the plan it recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch_lab.errors import StoreError
from torch_lab.store.find import StoredRun
from torch_lab.store.record import UNFINISHED, Record
from torch_lab.utils.text import format_duration

if TYPE_CHECKING:
    from torch_lab.store.journal import Row

_NOTE = "live"
_TAIL = 1 << 16  # bytes of the journal: some hundred rows


class Live(NamedTuple):
    """How far a run is; `epoch` counts those that are over, `epochs` and `left` are plans."""

    epoch: int
    batch: int
    step: int
    epochs: int | None = None
    rate: float | None = None  # batches a second, with whatever comes between them
    left: float | None = None  # seconds

    @property
    def where(self) -> str:
        """The epoch under way, as people count, of how many."""
        last = self.epochs
        if last is None:
            return str(self.epoch + 1)
        return f"{min(self.epoch + 1, last)}/{last}"

    def __str__(self) -> str:
        parts = [f"epoch {self.where}", f"step {self.step}", f"batch {self.batch}"]
        if self.rate is not None:
            parts.append(f"{self.rate:.3g} batches/s")
        if self.left is not None:
            parts.append(f"{format_duration(self.left)} left")
        return ", ".join(parts)


def live(run: StoredRun) -> Live | None:
    """Where a run is that somebody works on; None for others, and before its first row."""
    if run.status not in UNFINISHED or run.where == "server" or run.brief.fetched:
        return None
    if _NOTE not in run.notes:
        rows = _last_rows(run.directory.metrics)
        run.notes[_NOTE] = _live(run.record, rows) if rows else None
    found: Live | None = run.notes[_NOTE]
    return found


def newest_values(run: StoredRun) -> dict[str, float]:
    """The newest value of each metric that a run under way has logged of late."""
    return {
        name: value
        for row in _last_rows(run.directory.metrics)
        for name, value in row.values.items()
    }


def _live(record: Record, rows: list[Row]) -> Live:
    last = rows[-1]
    init = _init(record.hparams)
    epochs, steps = _limit(init.get("max_epochs")), _limit(init.get("max_steps"))
    rate = _rate(rows)
    left = None if rate is None else _seconds_left(record, last, epochs, steps, rate)
    return Live(last.epoch, last.batch, last.step, epochs, rate, left)


def _rate(rows: list[Row]) -> float | None:
    first, last = rows[0], rows[-1]
    took, done = last.t - first.t, last.batch - first.batch
    return done / took if took > 0 and done > 0 else None


def _seconds_left(
    record: Record, last: Row, epochs: int | None, steps: int | None, rate: float
) -> float | None:
    """Until the nearer of the two limits; an epoch's length is known once it was recorded."""
    planned = _planned(record.ledger or {})
    batches: list[float] = []
    if epochs is not None and planned is not None:
        batches.append(epochs * planned - last.batch)
    if steps is not None and last.step > 0:
        batches.append((steps - last.step) * last.batch / last.step)
    return max(min(batches), 0) / rate if batches else None


def _planned(ledger: Mapping[str, Any]) -> int | None:
    """How many batches an epoch has."""
    open_one, over = ledger.get("open"), ledger.get("epochs") or []
    latest = open_one or (over[-1] if over else {})
    return _limit(latest.get("planned"))


def _limit(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _init(hparams: Mapping[str, Any]) -> Mapping[str, Any]:
    trainer = hparams.get("trainer")
    init = trainer.get("init") if isinstance(trainer, Mapping) else None
    return init if isinstance(init, Mapping) else {}


def _last_rows(metrics: Path) -> list[Row]:
    """Rows at the end of the segment under way; none where they can't be read."""
    from torch_lab.store.segments import segments  # slow to import, and most runs have ended

    try:
        found = segments(metrics)
        rows = list(_parsed(_tail(found[-1]))) if found else []
    except (OSError, StoreError):
        return []
    # A loop may begin its count anew, as one for each fold does: only the latest one tells.
    turn = [i for i, (one, two) in enumerate(pairwise(rows), 1) if two.batch < one.batch]
    return rows[turn[-1] if turn else 0 :]


def _parsed(content: bytes) -> Iterator[Row]:
    from torch_lab.store.journal import parse
    from torch_lab.store.segments import content_of

    for line in content.splitlines(keepends=True):
        said = content_of(line) if line.endswith(b"\n") else None
        row = parse(said) if said is not None else None
        if row is not None:
            yield row


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        content = file.read()
    return content if size <= _TAIL else content.partition(b"\n")[2]
