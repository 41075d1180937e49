"""Copies of the user's values, so that nothing here writes to them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any


def plain_copy(value: Any) -> Any:
    """A deep copy; what can't be copied (a lock, an open file, a module) is shared."""
    try:
        return deepcopy(value)
    except Exception:  # noqa: BLE001  an object's own __deepcopy__ may raise anything
        return _copy_containers(value)


def _copy_containers(value: Any) -> Any:
    if type(value) is dict:
        return {key: plain_copy(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(plain_copy(item) for item in value)
    return value
