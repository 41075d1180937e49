"""Hyperparameters as ClearML has them, flat texts with types, and back.

{"config": {"lr": 0.1, "betas": (0.9, 0.99)}}    config/lr       "0.1"            float
                                                 config/betas    "[0.9, 0.99]"    tuple

Names are nested by slashes, as the SDK nests them. Types are the SDK's own where it has a word,
else those of run.json. A dict whose keys are no texts is one value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from torch_lab.errors import HparamsError
from torch_lab.hparams.kinds import literals
from torch_lab.hparams.overriding import checked_kind
from torch_lab.hparams.reading import read_like
from torch_lab.store.secrets import mask
from torch_lab.store.values import TAG, Json, Opaque, decode, encode
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.text import shown, suggestion

SECTION = "hparams"
_SIMPLE: dict[str, Any] = {"bool": False, "int": 0, "float": 0.0, "str": "", "": None}
_LONGEST = 100_000  # of a text: a task that grows over 16 MB is refused whole
_TEXTS = ("path", "bytes", "datetime", "date", "time", "repr")


def as_hyperparams(hparams: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The parameters of the section "hparams", by name; secrets are masked."""
    return {
        name: {"section": SECTION, "name": name, "value": text, "type": kind}
        for name, (text, kind) in _texts(hparams).items()
    }


def from_hyperparams(section: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """What a section says that was made of `base` and may have been edited since, as text.

    What wasn't edited, or was taken away, is as in `base`. What was has the type that was there;
    HparamsError names all that can't be so.
    """
    made: dict[str, Any] = plain_copy(dict(base))
    before, places = _texts(base), {_name(path): path for path, _ in _leaves(base)}
    problems: list[str] = []
    for name, item in section.items():
        text, kind = _given(item)
        if name in before and before[name][0] == text:
            continue
        try:
            if name in before:
                _edit(made, places[name], text, before[name][1])
            else:
                _add(made, name, text, kind)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise HparamsError("the ClearML task", problems)
    return made


def told(section: Mapping[str, Any]) -> dict[str, Any]:
    """What a section says by itself, for those who read it; what no text gives back stays text."""
    made: dict[str, Any] = {}
    for name, item in section.items():
        text, kind = _given(item)
        *above, last = [unquote(part) for part in name.split("/")]
        holder = made
        for key in above:
            below = holder.setdefault(key, {})
            holder = below if isinstance(below, dict) else {}
        try:
            holder[last] = _parsed(text, kind)
        except ValueError:
            holder[last] = text
    return made


# -- there ------------------------------------------------------------------------------------


def _texts(hparams: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Each value's text and type by its name."""
    found = {_name(path): _written(value) for path, value in _leaves(mask(hparams))}
    return {name: (_cut(text), kind) for name, (text, kind) in found.items()}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _leaves(
    tree: Mapping[Any, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and all(type(k) is str and k for k in value):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _name(path: tuple[str, ...]) -> str:
    """Unlike the SDK's flattening, this tells a slash in a key from one between keys."""
    return "/".join(str(key).replace("%", "%25").replace("/", "%2F") for key in path)


def _written(value: Any) -> tuple[str, str]:
    encoded = encode(value)
    if encoded is None:
        return "", ""
    if isinstance(encoded, (list, dict)):
        return _container(encoded)
    return str(encoded), type(encoded).__name__


def _container(encoded: list[Json] | dict[str, Json]) -> tuple[str, str]:
    kind = type(encoded).__name__
    inner: Json = encoded
    if isinstance(encoded, dict) and TAG in encoded:
        kind, inner = str(encoded[TAG]), encoded["value"]
    return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False), kind


# -- and back ---------------------------------------------------------------------------------


def _given(item: Any) -> tuple[str, str]:
    """The text and the type of a parameter, as ClearML's API has them."""
    fields = item if isinstance(item, Mapping) else {"value": item}
    value, kind = fields.get("value"), fields.get("type")
    return "" if value is None else str(value), str(kind or "").partition("/")[0]


def _edit(made: dict[str, Any], path: tuple[str, ...], text: str, kind: str) -> None:
    """Replace a value by what a text stands for in its place."""
    *above, last = path
    holder: Any = made
    for key in above:
        holder = holder[key]
    if kind not in (*_SIMPLE, "path"):
        holder[last] = _parsed(text, kind)
    elif path[0] == "config":
        holder[last] = read_like(holder[last], text)
    else:
        holder[last] = checked_kind(path).read(text)


def _add(made: dict[str, Any], name: str, text: str, kind: str) -> None:
    """Put a value where none was; the check that follows knows the keys outside `config`."""
    *above, last = [unquote(part) for part in name.split("/")]
    holder: Any = made
    for depth, key in enumerate(above):
        holder = holder.setdefault(key, {}) if above[0] != "config" else holder.get(key)
        if not isinstance(holder, dict):
            raise ValueError(f"there is no {'.'.join(above[: depth + 1])} to put {last} into")
    if above[:1] == ["config"]:
        # As with --set: a new key is nearly always a misspelt one, and nothing would ever read it.
        meant = suggestion(last, holder)
        raise ValueError(f"{'.'.join(above)} has no {last}; {meant} (new keys go into the script)")
    holder[last] = _parsed(text, kind)


def _parsed(text: str, kind: str) -> Any:
    """The value that a text of a type stands for, or ValueError."""
    if kind in _SIMPLE:
        return read_like(_SIMPLE[kind], text) if text or kind else None
    if kind == "repr":
        raise ValueError("only the script can say this, it can't be written as text")
    inner: Any = text if kind in _TEXTS else _structure(text)
    value = _decoded(inner, kind)
    if isinstance(value, Opaque):
        raise ValueError(f"expected a {kind}, as in the script; got {shown(text)}")
    return value


def _decoded(inner: Any, kind: str) -> Any:
    """A value of a kind, or an Opaque; a dict may also be given as pairs, a list as a tuple."""
    if kind == "dict" and isinstance(inner, dict):
        return decode(inner)
    if kind == "list":
        return decode(list(inner)) if isinstance(inner, (list, tuple)) else Opaque(repr(inner))
    return decode({TAG: kind, "value": inner})


def _structure(text: str) -> Any:
    """JSON, or what Python would write; ValueError where it is neither."""
    try:
        return json.loads(text)
    except ValueError:
        found = literals(text)
    if not found:
        raise ValueError(f"expected JSON, got {shown(text)}")
    return found[0]
