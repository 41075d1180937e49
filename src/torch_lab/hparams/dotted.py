"""Dotted keys: the way to a value inside nested dicts and lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Way:
    """How far a dotted key leads: `container[key]` is there, and `rest` is not found below it."""

    container: Any
    key: Any
    done: tuple[str, ...]
    rest: tuple[str, ...]

    @property
    def value(self) -> Any:
        """What the found part of the key leads to."""
        return self.container[self.key]


def follow(tree: dict[str, Any], words: Sequence[str]) -> Way | None:
    """Follow a dotted key as far as it goes; None if not even its first word is there."""
    way: Way | None = None
    here: Any = tree
    rest = tuple(words)
    while rest:
        found = _match(here, rest)
        if found is None:
            break
        key, used = found
        done = (*(way.done if way else ()), *rest[:used])
        rest = rest[used:]
        way = Way(here, key, done, rest)
        here = here[key]
    return way


def _match(container: object, words: Sequence[str]) -> tuple[Any, int] | None:
    """The key of `container` that the words begin with, and how many of them it takes."""
    if isinstance(container, list) and words[0].isdecimal() and int(words[0]) < len(container):
        return int(words[0]), 1
    if not isinstance(container, dict):
        return None
    for used in range(len(words), 0, -1):  # a key may have dots in it
        if (key := ".".join(words[:used])) in container:
            return key, used
    if words[0].isdecimal() and int(words[0]) in container:
        return int(words[0]), 1
    return None
