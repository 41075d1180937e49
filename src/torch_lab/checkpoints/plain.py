"""Training state as plain data, which torch.load(weights_only=True) accepts.

torch's safe loader takes tensors, numbers, strings, lists, tuples, sets and dicts. Everything
else that states are made of in practice is written as a tagged dict and rebuilt on loading; what
has no plain form is an error that says where it stands, because leaving it out would make a
resumed run differ without a word.
"""

from __future__ import annotations

import datetime
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from torch_lab.errors import CheckpointError

TAG = "__torch_lab__"

_AS_THEY_ARE = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_FACTORIES: dict[str, Callable[[], Any]] = {
    factory.__name__: factory for factory in (int, float, str, bool, list, dict, set, tuple)
}


def encode(value: Any, where: str = "the checkpoint", *, lossy: bool = False) -> Any:
    """`value` as plain data; with `lossy`, what has no plain form becomes its repr."""
    if type(value) in _AS_THEY_ARE or type(value) in (torch.Tensor, torch.nn.Parameter, torch.Size):
        return value
    if type(value) in (list, tuple, set):
        return type(value)(
            encode(each, f"{where}[{i}]", lossy=lossy) for i, each in enumerate(value)
        )
    if type(value) in (dict, OrderedDict):
        pairs = {
            encode(key, where, lossy=lossy): encode(each, f"{where}[{key!r}]", lossy=lossy)
            for key, each in value.items()
        }
        return {TAG: "dict", "items": list(pairs.items())} if TAG in pairs else type(value)(pairs)
    tagged = _tagged(value, where, lossy)
    if tagged is not None:
        return {TAG: tagged[0], "value": tagged[1]}
    if lossy:
        return {TAG: "repr", "value": repr(value)}
    raise CheckpointError(
        f"{where} holds a {type(value).__module__}.{type(value).__qualname__}, which has no plain"
        " form: a checkpoint must load without running code.",
        hint="Return plain values from that state_dict: tensors, numbers, strings, lists, dicts.",
    )


def _tagged(value: Any, where: str, lossy: bool) -> tuple[str, Any] | None:
    def inner(each: Any) -> Any:
        return encode(each, where, lossy=lossy)

    match value:
        case np.ndarray() if value.dtype != object:
            return "ndarray", _array(value)
        case np.generic() if value.dtype != object:
            return "number", _array(np.asarray(value))
        case torch.Tensor():  # a subclass: its values, not its class
            return "tensor", value.detach().as_subclass(torch.Tensor)
        case defaultdict() if value.default_factory is None or value.default_factory in (
            _FACTORIES.values()
        ):
            factory = getattr(value.default_factory, "__name__", None)
            return "defaultdict", [factory, inner(dict(value))]
        case Counter():
            return "counter", inner(dict(value))
        case PurePath():
            return "path", str(value)
        case range() | slice():
            return type(value).__name__, [value.start, value.stop, value.step]
        case frozenset():
            return "frozenset", inner(list(value))
        case datetime.datetime():
            return "datetime", value.isoformat()
        case datetime.timedelta():
            return "timedelta", value.total_seconds()
        case bool() | int() | float() | str():  # a subclass, such as an enum's member
            return None
        case Mapping() if hasattr(value, "items"):  # AttributeDict and its like
            return "mapping", inner(dict(value.items()))
        case tuple() if hasattr(value, "_fields"):
            return "tuple", inner(list(value))
    return None


def _array(value: np.ndarray) -> list[Any]:
    data = torch.frombuffer(bytearray(value.tobytes()) or bytearray(1), dtype=torch.uint8)
    return [value.dtype.str, list(value.shape), data[: value.nbytes].clone()]


def decode(value: Any) -> Any:
    """What `encode` was given, rebuilt from plain data."""
    if type(value) in (list, tuple, set):
        return type(value)(decode(each) for each in value)
    if type(value) not in (dict, OrderedDict):
        return value
    if TAG not in value:
        return type(value)((decode(key), decode(each)) for key, each in value.items())
    if value[TAG] == "dict":
        return {decode(key): decode(each) for key, each in value["items"]}
    return _DECODERS.get(value[TAG], decode)(value["value"])


def _decode_array(value: list[Any]) -> Any:
    dtype, shape, data = value
    return np.frombuffer(data.numpy().tobytes(), dtype=np.dtype(dtype)).reshape(shape).copy()


def _decode_defaultdict(value: list[Any]) -> Any:
    factory, items = value
    return defaultdict(_FACTORIES[factory] if factory else None, decode(items))


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "ndarray": _decode_array,
    "number": lambda value: _decode_array(value)[()],
    "defaultdict": _decode_defaultdict,
    "counter": lambda value: Counter(decode(value)),
    "path": Path,
    "range": lambda value: range(*value),
    "slice": lambda value: slice(*value),
    "frozenset": lambda value: frozenset(decode(value)),
    "datetime": datetime.datetime.fromisoformat,
    "timedelta": lambda value: datetime.timedelta(seconds=value),
    "tuple": lambda value: tuple(decode(value)),
}
