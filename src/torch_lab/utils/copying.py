"""Copies of the user's values, so that nothing here writes to them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any


def plain_copy(value: Any) -> Any:
    """A deep copy; what can't be copied (a lock, an open file, a module) is shared.

    So are Lightning's loggers: copying one for W&B would begin its run there and then.
    """
    try:
        return deepcopy(value, {id(each): each for each in _loggers(value)})
    except Exception:  # noqa: BLE001  an object's own __deepcopy__ may raise anything
        return _copy_containers(value)


def _copy_containers(value: Any) -> Any:
    if type(value) is dict:
        return {key: plain_copy(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(plain_copy(item) for item in value)
    return value


def _loggers(value: Any, depth: int = 8) -> Iterator[Any]:
    """Those in nested containers, without importing Lightning."""
    kind = type(value)
    if kind in (dict, list, tuple) and depth:
        for each in value.values() if kind is dict else value:
            yield from _loggers(each, depth - 1)
    elif any(base.__module__ == "lightning_fabric.loggers.logger" for base in kind.__mro__):
        yield value
