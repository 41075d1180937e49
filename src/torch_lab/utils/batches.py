"""How many samples a batch has, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any


def batch_size(*parts: Any) -> int:
    """The number of samples, from the first part of a batch that tells; 1 if none does.

    Tensors and arrays tell first: what a collate function put into a list can be samples or
    columns.
    """
    for part in parts:
        if _is_array(part):
            return int(part.shape[0])
    lengths = [length for part in parts if (length := _length(part)) is not None]
    return next(filter(None, lengths), 0) if lengths else 1


def _is_array(value: Any) -> bool:
    return bool(getattr(value, "shape", ()))


def _length(value: Any) -> int | None:
    if _is_array(value):
        return int(value.shape[0])
    if isinstance(value, (str, bytes)) or hasattr(value, "shape"):
        return None
    if isinstance(value, Mapping):
        return next((n for each in value.values() if (n := _length(each)) is not None), None)
    if isinstance(value, (list, tuple)) and value and _is_column(value[0]):
        return _length(value[0])
    return len(value) if isinstance(value, Sized) else None


def _is_column(value: Any) -> bool:
    """Whether a list that begins with `value` holds columns of a batch, not its samples."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_column, value))
    return _is_array(value)
