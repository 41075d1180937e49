"""`--set KEY=VALUE`: one value overridden, kept to the type that was there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.hparams import typed
from torch_lab.hparams.checking import CHECKPOINT, SECTIONS, SEED, TASK, TRAINER_SECTIONS
from torch_lab.hparams.dotted import Way, follow
from torch_lab.hparams.kinds import ANYTHING, Kind, one_of, optional
from torch_lab.hparams.lightning import trainer_kwargs
from torch_lab.hparams.reading import read_like
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.text import nearest, shown, suggestion


def override(hparams: dict[str, Any], texts: Sequence[str], config_type: Any = None) -> None:
    """Apply overrides to a resolved dict of hyperparameters; UsageError names all mistakes."""
    problems: list[str] = []
    for key, text in [_split(item) for item in texts]:
        try:
            _apply(hparams, key, text, config_type)
        except ValueError as error:
            problems.append(f"--set {key}={text}: {error}")
    if problems:
        raise UsageError("\n".join(problems))


def _split(item: str) -> tuple[str, str]:
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {item}: expected KEY=VALUE", hint="for example: --set lr=0.001")
    return key.strip(), text


def full_keys(texts: Sequence[str]) -> list[str]:
    """The dotted keys, with their section, that overrides give a value."""
    return [".".join(_words(_split(item)[0])) for item in texts]


def config_keys(texts: Sequence[str]) -> list[str]:
    """The dotted keys below `config` that overrides give a value."""
    return [key for key in full_keys(texts) if key.partition(".")[0] == "config"]


def config_changes(texts: Sequence[str]) -> list[str]:
    """Those of the overrides that change the config."""
    return [text for text in texts if config_keys([text])]


def _words(key: str) -> list[str]:
    words = key.split(".")
    return words if words[0] in SECTIONS else ["config", *words]


def put(hparams: dict[str, Any], values: Mapping[str, Any], config_type: Any = None) -> None:
    """Give keys, dotted as for `--set`, values of Python's; UsageError names those there aren't.

    What the values should be is left to the check that follows.
    """
    problems: list[str] = []
    for key, value in values.items():
        try:
            _put(hparams, key, value, config_type)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    if problems:
        raise UsageError("\n".join(problems))


def _put(hparams: dict[str, Any], key: str, value: Any, config_type: Any) -> None:
    words = _words(key)
    if words[0] == "config" and config_type is not None:
        typed.put(config_type, hparams["config"], words[1:], value, _sections_like(key))
        return
    way = follow(hparams, words)
    if way is not None and not way.rest:
        way.container[way.key] = plain_copy(value)
    elif way is None or not isinstance(way.value, dict) or len(way.rest) > 1:
        raise ValueError(_no_such_level(way, words))
    elif words[0] == "config":
        raise ValueError(_unknown_in_config(way, key))
    else:
        way.value[way.rest[0]] = plain_copy(value)


def _sections_like(key: str) -> list[str]:
    """The section that a key which is unknown in `config` may have been meant for."""
    if key.startswith("config."):
        return []
    section = nearest(key.partition(".")[0], SECTIONS)
    return [section] if section else []


def _apply(hparams: dict[str, Any], key: str, text: str, config_type: Any) -> None:
    words = _words(key)
    if words[0] == "config" and config_type is not None:
        typed.assign(config_type, hparams["config"], words[1:], text, _sections_like(key))
        return
    way = follow(hparams, words)
    if words[0] == "config":
        _apply_to_config(way, key, text)
    elif way is not None and not way.rest:
        way.container[way.key] = checked_kind(way.done).read(text)
    elif way is not None and len(way.rest) == 1 and isinstance(way.value, dict):
        # Not there yet; the check that follows knows the keys of these levels.
        way.value[way.rest[0]] = checked_kind((*way.done, *way.rest)).read(text)
    else:
        raise ValueError(_no_such_level(way, words))


def checked_kind(words: tuple[str, ...]) -> Kind:
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
    if isinstance(way.value, dict):
        sections = _sections_like(key) if way.done == ("config",) else []
        meant = suggestion(way.rest[0], [*way.value, *sections])
        return f"{'.'.join(way.done)} has no {way.rest[0]}; {meant} (new keys go into the script)"
    return _no_such_level(way, ())
