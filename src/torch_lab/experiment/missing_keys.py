"""A key that the config lacks: what it has instead is told by the KeyError."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from linecache import getline
from traceback import walk_tb
from typing import Any

from torch_lab.utils.text import nearest
from torch_lab.utils.tracebacks import is_user_file

_SHOWN = 12


def tell(error: KeyError, config: Any) -> None:
    """Add a note to an error that the user's own line raised, where it could use the config."""
    missing = error.args[0] if error.args else None
    if not isinstance(missing, str) or not isinstance(config, Mapping):
        return
    keys: dict[str, str] = {}
    for key, path in _keys(config):
        keys.setdefault(key, path)
    if missing in keys or missing in _texts(config) or not _by_the_user(error, config):
        return
    match = nearest(missing, keys)
    meant = f'; did you mean "{keys[match]}"?' if match else ""
    error.add_note(f"config has {_listed(config)}{meant}")


def _keys(config: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Each key, those of dicts within too, with its path."""
    own = [(key, value) for key, value in config.items() if isinstance(key, str)]
    yield from ((key, f"{before}{key}") for key, _ in own)
    for key, value in own:
        if isinstance(value, Mapping):
            yield from _keys(value, f"{before}{key}.")


def _texts(config: Mapping[Any, Any]) -> Iterator[str]:
    """What may be a key of another dict: `MODELS[config["name"]]`."""
    for value in config.values():
        if isinstance(value, Mapping):
            yield from _texts(value)
        elif isinstance(value, str):
            yield value


def _by_the_user(error: KeyError, config: Mapping[Any, Any]) -> bool:
    """Whether the line that raised it is the user's and names the config, or a part of it."""
    frames = [*walk_tb(error.__traceback__)]
    if not frames or not is_user_file(frames[-1][0].f_code.co_filename):
        return False
    frame, number = frames[-1]
    words = set(re.findall(r"\w+", getline(frame.f_code.co_filename, number)))
    parts = {id(config), *map(id, _parts(config))}
    return any(id(value) in parts and name in words for name, value in frame.f_locals.items())


def _parts(config: Mapping[Any, Any]) -> Iterator[Mapping[Any, Any]]:
    for value in config.values():
        if isinstance(value, Mapping):
            yield value
            yield from _parts(value)


def _listed(config: Mapping[Any, Any]) -> str:
    names = [*map(str, config)]
    return f"{', '.join(names[:_SHOWN])}{', …' * (len(names) > _SHOWN)}" if names else "no keys"
