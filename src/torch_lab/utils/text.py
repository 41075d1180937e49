"""Words and numbers as messages show them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, words: Iterable[object]) -> str | None:
    """The one of `words` that was most likely meant by `word`, or None."""
    known = {name.casefold(): name for name in words if isinstance(name, str)}
    matches = get_close_matches(word.casefold(), known, n=1, cutoff=0.6)
    return known[matches[0]] if matches else None


def suggestion(word: str, words: Iterable[object]) -> str:
    """The end of a sentence about an unknown `word`: the nearest name, or all there are."""
    names = [name for name in words if isinstance(name, str)]
    match = nearest(word, names)
    if match is not None:
        return f'did you mean "{match}"?'
    if not names:
        return "there are none"
    first = ", ".join(names[:12])
    return f"there are {first}{', ...' * (len(names) > 12)}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun: `1 run`, `2 runs`."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def shown(value: object, limit: int = 60) -> str:
    """A value as an error shows it: its repr, cut where it is long, and its type."""
    text = " ".join(repr(value).split())
    cut = text if len(text) <= limit else f"{text[: limit - 3]}..."
    return cut if value is None else f"{cut} ({type(value).__name__})"


def format_duration(seconds: float) -> str:
    """A duration in its two largest units: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def format_size(count: int) -> str:
    """A number of bytes in decimal units: `512 B`, `4.1 kB`, `200 MB`."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        del units[0]
    unit = units[0]
    digits = 1 if unit != "B" and size < 9.95 else 0
    return f"{size:.{digits}f} {unit}"
