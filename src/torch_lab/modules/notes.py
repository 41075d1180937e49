"""What an exception is told of where it came up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor

_SHOWN = 6


@contextmanager
def noting(where: str) -> Iterator[None]:
    """Within it, an exception learns where it came up."""
    try:
        yield
    except Exception as error:  # any: it is raised again, and now says where
        error.add_note(f"in {where}")
        raise


def arguments(y_pred: Any, y: Any) -> str:
    """What a loss or metric was called with."""
    return f"y_pred {described(y_pred)}, y {described(y)}"


def described(value: Any) -> str:
    """A batch's kind and shape: `float32 (32, 10)`, or those of its parts."""
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, Mapping):
        parts = [f"{key}: {described(each)}" for key, each in list(value.items())[:_SHOWN]]
        return f"{{{', '.join(parts)}{', …' * (len(value) > _SHOWN)}}}"
    if isinstance(value, (list, tuple)):
        first = f" of {described(value[0])}, …" if value else ""
        return f"{type(value).__name__} ({len(value)}){first}"
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    return name if shape is None else f"{name} {getattr(value, 'dtype', '')} {tuple(shape)}"


def _tensor(value: Tensor) -> str:
    place = "" if value.device.type == "cpu" else f" on {value.device}"
    kind = str(value.dtype).removeprefix("torch.")
    return f"{kind} {tuple(value.shape)}{_range(value)}{place}"


def _range(value: Tensor) -> str:
    """From where to where the values of classes and counts go."""
    if value.is_floating_point() or value.is_complex() or not value.numel():
        return ""
    with suppress(Exception):  # any: on a device that failed nothing can be read
        low, high = (int(each) for each in (value.min(), value.max()))
        return f" of {low}" if low == high else f" of {low} to {high}"
    return ""
