"""Command-line text read as a value like the one that it replaces."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from torch_lab.hparams.kinds import is_int, is_number, literals, one_of
from torch_lab.utils.text import shown


def read_like(old: object, text: str) -> object:
    """The value that `text` stands for in place of `old`, or ValueError."""
    if isinstance(old, str):
        return text
    value = literals(text)[0] if literals(text) else text
    if old is None:
        return value
    try:
        return _converted(old, value, text)
    except (TypeError, ValueError):
        raise ValueError(
            f"expected {_like(old)}, as in the script ({shown(old)}); got {shown(value)}"
        ) from None


def _converted(old: object, value: Any, text: str) -> object:
    """`value` in the type of `old`, or TypeError or ValueError."""
    if isinstance(old, PurePath):
        return type(old)(text)
    if isinstance(old, bool):
        accepted = isinstance(value, bool)
    elif is_int(old):
        accepted = is_int(value) or (isinstance(value, float) and value.is_integer())
        return int(value) if accepted else _refuse()
    elif is_number(old):
        # float() also knows nan and inf, which are no literals
        return float(value) if is_number(value) else float(text)
    elif isinstance(old, (list, tuple)):
        plain = list if isinstance(old, list) else tuple
        return plain(value) if isinstance(value, (list, tuple)) else _refuse()
    else:
        accepted = type(value) is type(old)
    return value if accepted else _refuse()


def _refuse() -> object:
    raise TypeError


def _like(old: object) -> str:
    for name in ("bool", "int", "float", "list", "dict"):
        kind = one_of(name)
        if kind.accepts(old):
            return kind.expected
    return f"a {type(old).__name__}"
