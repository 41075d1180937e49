"""What numbers must be like that compiled code follows without looking."""

from __future__ import annotations

from typing import Any

import numpy as np


class Unsound(Exception):
    """Why an estimator is not as its library makes it."""


def require_tree(left: np.ndarray, right: np.ndarray, inner: np.ndarray) -> int:
    """The depth of nodes that form a tree below the first; Unsound where they form none."""
    children = np.concatenate([left[inner], right[inner]]).astype(np.int64)
    require_below(children, len(left))
    if (children == 0).any() or len(np.unique(children)) != len(children):
        raise Unsound("a tree that leads back into itself")
    depth, level = -1, np.zeros(1, dtype=np.int64)
    while len(level):  # ends: nothing leads to the root, and to each other node at most one
        depth += 1
        level = level[inner[level]]
        level = np.concatenate([left[level], right[level]]).astype(np.int64)
    return depth


def require_below(numbers: np.ndarray, limit: int) -> None:
    """Each is an index into something of `limit` parts."""
    if len(numbers) and not (int(numbers.min()) >= 0 and int(numbers.max()) < limit):
        raise Unsound("a tree that leads out of itself")


def require_rising(numbers: np.ndarray, end: int) -> None:
    """They cut something of `end` parts into segments."""
    whole = len(numbers) > 0 and numbers[0] == 0 and numbers[-1] == end
    if not whole or (np.diff(numbers) < 0).any():
        raise Unsound("segments that don't follow each other")


def kind_of(value: Any) -> tuple[str, str]:
    """Module and name of its class."""
    return type(value).__module__, type(value).__name__
