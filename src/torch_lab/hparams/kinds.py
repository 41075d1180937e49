"""Kinds of values: what a key expects, in words and as a test."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from numbers import Integral, Number, Real
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What a value has to be."""

    expected: str
    accepts: Callable[[Any], bool]

    def read(self, text: str) -> object:
        """The value that command-line text stands for: a literal where one fits, else the text."""
        candidates = [*literals(text), text]
        fitting = (value for value in candidates if self.accepts(value))
        return next(fitting, candidates[0])


def literals(text: str) -> list[object]:
    """The Python literal that `text` spells, if any; `true` and `false` are accepted too."""
    if text.lower() in ("true", "false"):
        return [text.lower() == "true"]
    try:
        return [ast.literal_eval(text.strip())]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return []  # what literal_eval documents for text that is no literal


def is_int(value: object) -> bool:
    """Whether a value is a whole number, numpy's too; bools are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a real number; bools are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


_TESTS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "bool": ("a bool", lambda value: isinstance(value, bool)),
    "int": ("an int", is_int),
    "float": ("a number", is_number),
    "str": ("a string", lambda value: isinstance(value, str)),
    "path": ("a path", lambda value: isinstance(value, (str, os.PathLike))),
    "list": ("a list", lambda value: isinstance(value, (list, tuple))),
    "dict": ("a dict", lambda value: isinstance(value, dict)),
    "enum": ("a member of an enum", lambda value: isinstance(value, Enum)),
    "None": ("None", lambda value: value is None),
}


def one_of(*names: str) -> Kind:
    """The kind of values that are of any of these types."""
    tests = [_TESTS[name] for name in names]
    return Kind(_listed(words for words, _ in tests), lambda v: any(test(v) for _, test in tests))


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def optional(kind: Kind) -> Kind:
    """The same kind, or None."""
    return Kind(f"{kind.expected} or None", lambda value: value is None or kind.accepts(value))


def objects(expected: str, *others: type) -> Kind:
    """The kind of objects, one or a list of them, whose classes only heavy packages know."""

    def accepts(value: object) -> bool:
        each = value if isinstance(value, (list, tuple)) else [value]
        return isinstance(value, others) or not any(isinstance(e, _PLAIN) for e in each)

    return Kind(expected, accepts)


_PLAIN = (Number, str, bytes, dict, type)
ANYTHING = Kind("any value", lambda _: True)
POSITIVE_INT = Kind("a positive int", lambda value: is_int(value) and value > 0)
POSITIVE = Kind("a positive number", lambda value: is_number(value) and 0 < value < float("inf"))
NAME = Kind("a non-empty string", lambda value: isinstance(value, str) and bool(value.strip()))
NAMES = Kind(
    "a list of strings",
    lambda value: isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value),
)
