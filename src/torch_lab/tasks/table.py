"""Plain tables and values, as the lab verbs show them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch_lab.store.flat import flatten as flatten
from torch_lab.store.values import Opaque
from torch_lab.utils.text import format_duration

MISSING = "-"
_COLORS = {
    "completed": "32",
    "failed": "31",
    "damaged": "31",
    "aborted": "33",
    "incomplete": "33",
    "lost": "33",
    "running": "36",
    "starting": "36",
    "queued": "35",
    "requeued": "35",
}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def layout(rows: Sequence[Sequence[str]], *, width: int | None, least: int = 16) -> list[list[str]]:
    """The rows with padded cells; too wide, the first column is cut, then the last ones go."""
    columns = len(rows[0])
    widths = [max(len(row[i]) for row in rows) for i in range(columns)]
    if width is not None:
        excess = sum(widths) + 2 * (columns - 1) - width
        widths[0] = max(widths[0] - max(excess, 0), min(least, widths[0]))
        while len(widths) > 1 and sum(widths) + 2 * (len(widths) - 1) > width:
            widths.pop()
    return [
        [cut(cell, room).ljust(room) for cell, room in zip(row, widths, strict=False)]
        for row in rows
    ]


def cut(text: str, room: int) -> str:
    """A text shortened in its middle: how a run's name begins and ends tells most."""
    if len(text) <= room:
        return text
    end = (room - 1) // 2
    return f"{text[: room - 1 - end]}…{text[len(text) - end :]}"


def columns(
    rows: Sequence[Sequence[str]], *, indent: str = "  ", width: int | None = None
) -> list[str]:
    """Rows as aligned lines."""
    if not rows:
        return []
    room = None if width is None else width - len(indent)
    return [f"{indent}{'  '.join(row)}".rstrip() for row in layout(rows, width=room)]


def colored_status(cell: str) -> str:
    """A status in its color, the padding around it kept."""
    color = _COLORS.get(cell.strip())
    return f"\x1b[{color}m{cell}\x1b[0m" if color else cell


def printable(text: str) -> str:
    """A text of foreign origin, in which nothing steers the terminal."""
    return "".join(
        char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text
    )


def number(value: float | None) -> str:
    """A metric's value."""
    return MISSING if value is None else f"{value:.4g}"


def moment(seconds: float | None) -> str:
    """A time, local."""
    if seconds is None:
        return MISSING
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def rough(seconds: float | None) -> str:
    """A duration in its largest unit."""
    if seconds is None:
        return MISSING
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(seconds, 0.0):.1f} s"


def ago(seconds: float, now: float) -> str:
    """A time, and how long it has been since."""
    return f"{moment(seconds)} ({format_duration(max(now - seconds, 0.0))} ago)"


def plain(value: Any) -> Any:
    """Any value as JSON that every reader accepts: NaN and infinities as texts."""
    if isinstance(value, Opaque):
        return value.text
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, Path) else repr(value)
