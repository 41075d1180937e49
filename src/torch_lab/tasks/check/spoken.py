"""Names and places as findings say them."""

from __future__ import annotations

from collections.abc import Sequence

from torch_lab.tasks.check.samples import Key

_SHOWN = 4


def listed(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - _SHOWN
    text = ", ".join(names[:_SHOWN])
    return f"{text} and {more} more" if more > 0 else text


def part(key: Key) -> str:
    """A place in a batch as one would write it."""
    return "batch" + "".join(f"[{each!r}]" for each in key)


def number(value: float) -> str:
    """A number, short."""
    return f"{value:.4g}"
