"""A word that could stand where another one was begun."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True)
class Candidate:
    """The whole word; `more` of it is still to be typed, or nothing but a space."""

    text: str
    about: str = ""
    more: bool = False


def fitting(word: str, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that go on where `word` ends, each once."""
    return once(each for each in candidates if each.text.startswith(word))


def once(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each text once, where it came first."""
    found: dict[str, Candidate] = {}
    for each in candidates:
        found.setdefault(each.text, each)
    return list(found.values())


def first_of(*groups: Sequence[Candidate]) -> list[Candidate]:
    """The first of the groups that has any."""
    return list(next(filter(None, groups), ()))


def all_of(*groups: Iterable[Candidate]) -> list[Candidate]:
    """All groups, one behind the other."""
    return once(chain.from_iterable(groups))
