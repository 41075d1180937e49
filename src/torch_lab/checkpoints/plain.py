"""Training state as plain data, which torch.load(weights_only=True) accepts.

torch's safe loader takes tensors, numbers, strings, lists, tuples, sets and dicts. Everything
else that states are made of in practice is written as a tagged dict and rebuilt on loading; what
has no plain form is an error that says where it stands, because leaving it out would make a
resumed run differ without a word.
"""

from __future__ import annotations

import datetime
import enum
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from torch_lab.errors import CheckpointDamaged, SaveFailed
from torch_lab.utils.later import Later

TAG = "__torch_lab__"

_AS_THEY_ARE = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    torch.dtype,
    torch.device,
    torch.Size,
    torch.Tensor,
    torch.nn.Parameter,
    Later,
)
_FACTORIES: dict[str, Callable[[], Any]] = {
    factory.__name__: factory
    for factory in (
        *(int, float, complex, str, bool),
        *(list, dict, set, tuple, frozenset, deque, Counter, OrderedDict),
    )
}


def encode(value: Any, where: str = "the checkpoint", *, lossy: bool = False) -> Any:
    """`value` as plain data; with `lossy`, what has no plain form becomes its repr."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind in (list, tuple, set):
        items = [encode(each, f"{where}[{i}]", lossy=lossy) for i, each in enumerate(value)]
        return _hashed(set, items, "set") if kind is set else kind(items)
    if kind in (dict, OrderedDict):
        return _encode_dict(value, where, lossy)
    tagged = _tagged(value, where, lossy)
    if tagged is not None:
        return {TAG: tagged[0], "value": tagged[1]}
    if lossy:
        return {TAG: "repr", "value": repr(value)}
    raise SaveFailed(
        f"{where} holds a {kind.__module__}.{kind.__qualname__}, which has no plain form:"
        " a checkpoint must load without running code",
        hint="Keep plain values in that state: tensors, numbers, strings, lists, dicts.",
    )


def _encode_dict(value: dict[Any, Any], where: str, lossy: bool) -> Any:
    pairs = [
        (encode(key, where, lossy=lossy), encode(each, f"{where}[{key!r}]", lossy=lossy))
        for key, each in value.items()
    ]
    kind = type(value)
    made = _hashed(kind, pairs, kind.__name__)
    if TAG in value:  # it must not be taken for a tagged one
        return {TAG: kind.__name__, "value": pairs}
    if type(made) is OrderedDict:  # torch hangs the versions of submodules on a state dict
        vars(made).update(encode(vars(value), where, lossy=lossy))
    return made


def _hashed(kind: type, items: list[Any], tag: str) -> Any:
    """A set or dict of encoded items, tagged where they can't be hashed any more."""
    try:
        return kind(items)
    except TypeError:
        return {TAG: tag, "value": items}


def _tagged(value: Any, where: str, lossy: bool) -> tuple[str, Any] | None:
    def inner(each: Any) -> Any:
        return encode(each, where, lossy=lossy)

    kind = type(value)
    match value:
        case np.ndarray() | np.generic() if _is_plain_array(value):
            return "ndarray" if isinstance(value, np.ndarray) else "number", _array(value)
        case np.dtype() if not value.hasobject:
            return "dtype", np.lib.format.dtype_to_descr(value)
        case torch.Tensor() if not is_lazy(value):
            return "tensor", value.detach().as_subclass(torch.Tensor)  # its values, not its class
        case defaultdict():
            factory = getattr(value.default_factory, "__name__", None)
            if value.default_factory not in (None, _FACTORIES.get(factory or "")):
                return None
            return "defaultdict", [factory, inner(dict(value))]
        case Counter():
            return "counter", inner(dict(value))
        case deque():
            return "deque", [inner(list(value)), value.maxlen]
        case bytearray():
            return "bytearray", bytes(value)
        case PurePath():
            return "path", str(value)
        case range() | slice():
            return kind.__name__, inner([value.start, value.stop, value.step])
        case frozenset():
            return "frozenset", inner(list(value))
        case datetime.datetime() | datetime.date() | datetime.time():
            return kind.__name__, value.isoformat()
        case datetime.timedelta():
            return "timedelta", [value.days, value.seconds, value.microseconds]
        case enum.Enum() if value.name in kind.__members__ and _is_found(kind):
            return "enum", [kind.__module__, kind.__qualname__, value.name, inner(value.value)]
        case tuple() if hasattr(value, "_fields") and _is_found(kind):
            return "namedtuple", [kind.__module__, kind.__qualname__, inner(list(value))]
        case Mapping():  # AttributeDict and its like
            return "mapping", inner(dict(value.items()))
    return None


def _is_plain_array(value: np.ndarray | np.generic) -> bool:
    return not value.dtype.hasobject and not isinstance(value, np.ma.MaskedArray)


def _array(value: np.ndarray | np.generic) -> list[Any]:
    data = np.frombuffer(value.tobytes(), dtype=np.uint8).copy()
    return [np.lib.format.dtype_to_descr(value.dtype), list(value.shape), torch.from_numpy(data)]


def _is_found(kind: type) -> bool:
    return _named_class(kind.__module__, kind.__qualname__) is kind


def _named_class(module: str, qualname: str) -> Any:
    """A class of a module that is imported already: to import one here would run its code."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(name)  # getattr(found, name) may import too
    return found


def decode(value: Any) -> Any:
    """What `encode` was given, rebuilt from plain data."""
    kind = type(value)
    if kind in (list, tuple, set):
        return kind(decode(each) for each in value)
    if kind not in (dict, OrderedDict):
        return value
    if TAG in value:
        return _untagged(value)
    made = kind((decode(key), decode(each)) for key, each in value.items())
    if kind is OrderedDict:
        vars(made).update(decode(vars(value)))
    return made


def _untagged(value: dict[Any, Any]) -> Any:
    try:
        return _DECODERS[value[TAG]](value["value"])
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CheckpointDamaged(
            f"it holds a {value[TAG]!r} that this version of torch-lab can't read"
        ) from error


def _decode_array(value: list[Any]) -> Any:
    descr, shape, data = value
    dtype = np.lib.format.descr_to_dtype(descr)
    return np.frombuffer(data.numpy().tobytes(), dtype=dtype).reshape(shape).copy()


def _decode_defaultdict(value: list[Any]) -> Any:
    factory, items = value
    return defaultdict(_FACTORIES[factory] if factory else None, decode(items))


def _decode_enum(value: list[Any]) -> Any:
    """The member, or its bare value where the enum's module is not imported."""
    module, qualname, name, bare = value
    kind = _named_class(module, qualname)
    return kind.__members__[name] if isinstance(kind, enum.EnumMeta) else decode(bare)


def _decode_namedtuple(value: list[Any]) -> Any:
    """The named tuple, or a bare one where its class is not imported."""
    module, qualname, items = value
    kind = _named_class(module, qualname)
    found = isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    return tuple.__new__(kind if found else tuple, decode(items))


def _pairs(value: Iterable[Any]) -> list[tuple[Any, Any]]:
    return [(decode(key), decode(each)) for key, each in value]


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "ndarray": _decode_array,
    "number": lambda value: _decode_array(value)[()],
    "dtype": np.lib.format.descr_to_dtype,
    "tensor": decode,
    "dict": lambda value: dict(_pairs(value)),
    "OrderedDict": lambda value: OrderedDict(_pairs(value)),
    "set": lambda value: set(decode(value)),
    "defaultdict": _decode_defaultdict,
    "counter": lambda value: Counter(decode(value)),
    "deque": lambda value: deque(decode(value[0]), value[1]),
    "bytearray": bytearray,
    "path": Path,
    "range": lambda value: range(*value),
    "slice": lambda value: slice(*decode(value)),
    "frozenset": lambda value: frozenset(decode(value)),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda value: datetime.timedelta(*value),
    "enum": _decode_enum,
    "namedtuple": _decode_namedtuple,
    "mapping": decode,
    "repr": decode,
}


def lean(tree: Any) -> Any:
    """Plain data in which small views of large tensors stand alone.

    torch.save writes the whole storage that a tensor looks into. Views that together need all of
    it, as a flattened RNN's weights do, go on sharing it.
    """
    views: dict[Any, torch.Tensor] = {}
    _each_tensor(tree, lambda tensor: views.setdefault(_view(tensor), tensor))
    needed: Counter[int] = Counter()
    for (storage, *_), tensor in views.items():
        needed[storage] += tensor.nbytes if storage else 0
    alone = {
        view: tensor.clone()
        for view, tensor in views.items()
        if view[0] and tensor.untyped_storage().nbytes() > needed[view[0]]
    }
    return _each_tensor(tree, lambda tensor: alone.get(_view(tensor), tensor)) if alone else tree


def _view(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What part of which storage a tensor is; those without a storage of their own begin with 0."""
    with_storage = tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized)
    if not with_storage or tensor.is_meta:
        return 0, id(tensor)
    storage = tensor.untyped_storage().data_ptr()
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _each_tensor(tree: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    kind = type(tree)
    if isinstance(tree, torch.Tensor):
        return change(tree)
    if kind in (list, tuple, set):
        return kind(_each_tensor(each, change) for each in tree)
    if kind not in (dict, OrderedDict):
        return tree
    made = kind((key, _each_tensor(each, change)) for key, each in tree.items())
    if kind is OrderedDict:
        vars(made).update(vars(tree))
    return made
