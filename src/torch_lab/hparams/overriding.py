"""`--set KEY=VALUE`: one value overridden, kept to the type that was there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.hparams.checking import CHECKPOINT, SECTIONS, SEED, TASK, TRAINER_SECTIONS
from torch_lab.hparams.dotted import Way, follow
from torch_lab.hparams.kinds import ANYTHING, Kind, is_int, is_number, literals, one_of, optional
from torch_lab.hparams.lightning import trainer_kwargs
from torch_lab.utils.text import nearest, shown, suggestion


def override(hparams: dict[str, Any], texts: Sequence[str]) -> None:
    """Apply overrides to a resolved dict of hyperparameters; UsageError names all mistakes."""
    problems: list[str] = []
    for key, text in [_split(item) for item in texts]:
        try:
            _apply(hparams, key, text)
        except ValueError as error:
            problems.append(f"--set {key}={text}: {error}")
    if problems:
        raise UsageError("\n".join(problems))


def _split(item: str) -> tuple[str, str]:
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {item}: expected KEY=VALUE", hint="for example: --set lr=0.001")
    return key.strip(), text


def _apply(hparams: dict[str, Any], key: str, text: str) -> None:
    words = key.split(".")
    if words[0] not in SECTIONS:
        words = ["config", *words]
    way = follow(hparams, words)
    if words[0] == "config":
        _apply_to_config(way, key, text)
    elif way is not None and not way.rest:
        way.container[way.key] = _checked_kind(way.done).read(text)
    elif way is not None and len(way.rest) == 1 and isinstance(way.value, dict):
        # Not there yet; the check that follows knows the keys of these levels.
        way.value[way.rest[0]] = _checked_kind((*way.done, *way.rest)).read(text)
    else:
        raise ValueError(_no_such_level(way, words))


def _checked_kind(words: tuple[str, ...]) -> Kind:
    """What a key outside `config` expects; anything where the check will refuse the key."""
    match words:
        case ("seed",):
            return SEED
        case ("task", key):
            return TASK.get(key, ANYTHING)
        case ("checkpoint", key):
            return CHECKPOINT.get(key, ANYTHING)
        case ("trainer", section, key) if section in TRAINER_SECTIONS:
            return trainer_kwargs(section).get(key, ANYTHING)
        case ("trainer", "validate"):
            return optional(one_of("dict"))
        case _:
            return ANYTHING


def _no_such_level(way: Way | None, words: Sequence[str]) -> str:
    if way is None:
        return f"there is no {words[0]}"
    where = ".".join(way.done)
    if isinstance(way.value, dict):
        return f"{where} has no {way.rest[0]}; {suggestion(way.rest[0], way.value)}"
    return f"{where} is {shown(way.value)}, so there is no {way.rest[0]} in it"


def _apply_to_config(way: Way | None, key: str, text: str) -> None:
    assert way is not None  # a resolved dict has a config
    if way.rest:
        # A new key is nearly always a misspelt one, and nothing would ever read it.
        raise ValueError(_unknown_in_config(way, key))
    way.container[way.key] = read_like(way.value, text)


def _unknown_in_config(way: Way, key: str) -> str:
    section = nearest(key.split(".")[0], SECTIONS) if way.done == ("config",) else None
    if isinstance(way.value, dict):
        names = [*way.value, section] if section else [*way.value]
        meant = suggestion(way.rest[0], names)
        return f"{'.'.join(way.done)} has no {way.rest[0]}; {meant} (new keys go into the script)"
    return _no_such_level(way, ())


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
