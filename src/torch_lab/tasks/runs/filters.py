"""Conditions that runs are to meet, and the order that they come in."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch_lab.errors import UsageError
from torch_lab.store.find import StoredRun
from torch_lab.tasks.runs.meaning import require_known, value_of, values_of

T = TypeVar("T")

_FILTER = re.compile(r"(?P<key>[^=<>!~]+)(?P<sign>!=|<=|>=|==|=|<|>|~)(?P<value>.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Condition(Protocol):
    """What a run is asked for."""

    @property
    def key(self) -> str:
        """Whose value it looks at."""

    def accepts(self, run: StoredRun) -> bool:
        """Whether a run meets it."""


@dataclass(frozen=True)
class Filter:
    """One condition: `lr<1e-3`."""

    key: str
    sign: str
    value: str

    def accepts(self, run: StoredRun) -> bool:
        """Whether a run meets it; a run without such a value meets only `!=`."""
        values = values_of(run, self.key)
        if self.sign == "!=":
            return not any(_equal(value, self.value) for value in values)
        return any(self._compare(value) for value in values)

    def _compare(self, value: Any) -> bool:
        if self.sign in ("=", "=="):
            return _equal(value, self.value)
        if self.sign == "~":
            return self.value.casefold() in str(value).casefold()
        pair = _comparable(value, self.value)
        return pair is not None and _ORDERS[self.sign](*pair)


def parse_filter(text: str) -> Filter:
    """A condition as it was typed."""
    found = _FILTER.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no filter",
            hint=f"write KEY=VALUE, or KEY with <, <=, >, >=, != or ~ (contains): name~{text}",
        )
    return Filter(found["key"].strip(), found["sign"], found["value"].strip())


def select(
    runs: Sequence[StoredRun],
    filters: Sequence[Condition] = (),
    *,
    sort: str | None = None,
    limit: int | None = None,
) -> list[StoredRun]:
    """The runs that meet all conditions, newest first or by a key (`-KEY`: greatest first)."""
    for condition in filters:
        require_known(condition.key, runs)
    chosen = [run for run in runs if all(condition.accepts(run) for condition in filters)]
    if sort is not None:
        key = sort.removeprefix("-")
        require_known(key, runs)
        chosen = in_order(chosen, lambda run: value_of(run, key), falling=sort.startswith("-"))
    return chosen[:limit]


def in_order(items: Sequence[T], value: Callable[[T], Any], *, falling: bool = False) -> list[T]:
    """By numbers, then by texts; what has no value, or NaN, comes last either way."""
    ranked: list[tuple[tuple[bool, Any], T]] = []
    rest: list[T] = []
    for item in items:
        found = value(item)
        if found is None or (isinstance(found, float) and math.isnan(found)):
            rest.append(item)
        else:
            is_text = not isinstance(found, (int, float))
            ranked.append(((is_text, str(found) if is_text else found), item))
    ranked.sort(key=operator.itemgetter(0), reverse=falling)
    return [item for _, item in ranked] + rest


def _equal(value: Any, text: str) -> bool:
    """Whether a value is what was typed; of a list, whether it is that list or has it in it."""
    if value is None or isinstance(value, bool):
        return str(value).casefold() == text.casefold()
    if isinstance(value, (int, float)):
        other = _float(text)
        if other is None:
            return False
        return bool(value == other) or (math.isnan(value) and math.isnan(other))
    if isinstance(value, (list, tuple, set, frozenset)):
        return _same_items(value, text) or any(_equal(item, text) for item in value)
    return str(value) == text


def _same_items(value: Collection[Any], text: str) -> bool:
    """`[1, 2]`, `(1, 2)` and `1,2` are all the same here."""
    import ast  # slow to import, and lists are rare

    try:
        typed = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        typed = tuple(word.strip() for word in text.strip("[](){}").split(",") if word.strip())
    if not isinstance(typed, (list, tuple, set)):
        return False
    if isinstance(value, (set, frozenset)):
        return set(value) == set(typed)
    return list(value) == list(typed)


def _comparable(value: Any, text: str) -> tuple[Any, Any] | None:
    """Two numbers, or two texts; anything else has no order."""
    if isinstance(value, str):
        return (value, text)
    other = _float(text)
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (value, other) if numeric and other is not None else None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
