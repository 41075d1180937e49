"""Python values as strict JSON and back: what JSON has no word for is tagged.

(1, 2)          {"$type": "tuple", "value": [1, 2]}
{1: "a"}        {"$type": "dict", "value": [[1, "a"]]}
float("nan")    {"$type": "float", "value": "nan"}
nn.ReLU         {"$type": "repr", "value": "torch.nn.modules.activation.ReLU"}
"""

from __future__ import annotations

import base64
import datetime
import enum
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

TAG = "$type"
LONGEST_REPR = 2000
_DEEPEST = 100
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # another one in each process
# json.loads refuses to read longer decimal integers.
_LARGEST_INT = 10**4000


@dataclass(frozen=True)
class Opaque:
    """A value that can be shown but not rebuilt: its repr, or a tag of a newer torch-lab."""

    text: str
    tagged: str | None = None

    def __repr__(self) -> str:
        return self.text


def encode(value: object) -> Json:
    """The value as strict JSON; never fails."""
    return _encode(value, ())


def decode(value: Json) -> Any:
    """What `encode` was given, or an Opaque where only its repr was kept."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        return _untag({key: decode(item) for key, item in value.items()})
    return value


def loads(content: bytes) -> Any:
    """Read JSON and decode it in the same pass."""
    return json.loads(content, object_hook=_untag)


def dumps(value: Json) -> bytes:
    """Strict, readable JSON, ending with a line break."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # file names that are no UTF-8 hold lone surrogates
        return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"


def _untag(fields: dict[str, Any]) -> Any:
    """The value of a tagged object whose parts are decoded already; others stay as they are."""
    if TAG not in fields:
        return fields
    try:
        return _DECODERS[fields[TAG]](fields["value"])
    except (KeyError, TypeError, ValueError, OverflowError):
        plain = {key: encode(item) for key, item in fields.items()}
        return Opaque(f"<{fields[TAG]}>", json.dumps(plain))


def _encode(value: object, parents: tuple[int, ...]) -> Json:
    if isinstance(value, enum.Enum):
        return _by_repr(value)
    if isinstance(value, (type(None), bool)):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value) if abs(value) < _LARGEST_INT else _tagged("int", hex(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _tagged("float", str(float(value)))
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return _encode_container(value, parents)
    return _encode_other(value)


def _encode_container(
    value: list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any] | Mapping[Any, Any],
    parents: tuple[int, ...],
) -> Json:
    if id(value) in parents or len(parents) >= _DEEPEST:
        return _tagged("repr", f"<{type(value).__name__} that contains itself or is too deep>")
    inner = (*parents, id(value))
    if isinstance(value, Mapping):
        return _encode_mapping(value, inner)
    items = [_encode(item, inner) for item in value]
    if isinstance(value, list):
        return items
    if isinstance(value, tuple):
        return _tagged("tuple", items)
    kind = "set" if isinstance(value, set) else "frozenset"
    return _tagged(kind, sorted(items, key=lambda item: json.dumps(item, sort_keys=True)))


def _encode_mapping(value: Mapping[Any, Any], parents: tuple[int, ...]) -> Json:
    if TAG not in value and all(type(key) is str for key in value):
        return {key: _encode(item, parents) for key, item in value.items()}
    return _tagged(
        "dict", [[_encode(key, parents), _encode(item, parents)] for key, item in value.items()]
    )


def _encode_other(value: object) -> Json:
    for kind, (types, encoder) in _ENCODERS.items():
        if isinstance(value, types):
            return _tagged(kind, encoder(value))
    if isinstance(value, Opaque):
        return _tagged("repr", value.text) if value.tagged is None else _loaded(value.tagged)
    return _scalar(value)


def _scalar(value: object) -> Json:
    """A numpy or torch scalar as its number, known by what it can do: neither is imported here."""
    if getattr(value, "shape", None) == () and hasattr(value, "dtype") and hasattr(value, "item"):
        number = value.item()
        if isinstance(number, (bool, int, float, complex, str)):
            return encode(number)
    return _by_repr(value)


def _by_repr(value: object) -> Json:
    name = getattr(value, "__qualname__", None)
    if callable(value) and isinstance(name, str):
        return _tagged("repr", f"{getattr(value, '__module__', None) or '?'}.{name}")
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception:  # noqa: BLE001  a stranger's __repr__ may raise anything
        text = f"<{type(value).__name__} without a repr>"
    return _tagged("repr", text if len(text) <= LONGEST_REPR else text[:LONGEST_REPR] + "…")


def _tagged(kind: str, value: Json) -> Json:
    return {TAG: kind, "value": value}


def _loaded(text: str) -> Json:
    loaded: Json = json.loads(text)
    return loaded


_Encoders: TypeAlias = dict[str, tuple[type | tuple[type, ...], Callable[[Any], Json]]]

_ENCODERS: _Encoders = {
    "path": (PurePath, str),
    "bytes": ((bytes, bytearray), lambda value: base64.b64encode(value).decode()),
    "datetime": (datetime.datetime, lambda value: value.isoformat()),
    "date": (datetime.date, lambda value: value.isoformat()),
    "time": (datetime.time, lambda value: value.isoformat()),
    "timedelta": (
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
    ),
    "complex": (complex, lambda value: [encode(value.real), encode(value.imag)]),
    "range": (range, lambda value: [value.start, value.stop, value.step]),
    "slice": (
        slice,
        lambda value: [encode(item) for item in (value.start, value.stop, value.step)],
    ),
}

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "float": float,
    "int": lambda value: int(value, 16),
    "repr": Opaque,
    "path": Path,
    "bytes": base64.b64decode,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda value: datetime.timedelta(*value),
    "complex": lambda value: complex(*value),
    "range": lambda value: range(*value),
    "slice": lambda value: slice(*value),
}
