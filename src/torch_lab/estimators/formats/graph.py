"""What an estimator is made of: every object that its attributes and containers lead to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_LEAVES = (type(None), bool, int, float, complex, str, bytes, bytearray, type, np.generic)


def values(root: Any) -> Iterator[Any]:
    """Each value that is more than a number or a text, once; inner ones after outer ones."""
    seen: dict[int, Any] = {}  # the values too: an id counts as long as its object lives
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _LEAVES) or id(value) in seen:
            continue
        seen[id(value)] = value
        yield value
        waiting.extend(_items(value))
        waiting.extend(_attributes(value).values())


def objects(root: Any) -> Iterator[Any]:
    """Those of them that have attributes of their own."""
    return (value for value in values(root) if _attributes(value))


def _attributes(value: Any) -> dict[str, Any]:
    found = getattr(value, "__dict__", None)
    return found if isinstance(found, dict) else {}


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        yield from value.ravel().tolist()
