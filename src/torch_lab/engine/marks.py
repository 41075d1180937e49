"""A digest of nearly any Python value, the same in each process where the value is the same.

What has no content that could be read (an open file, a lock) counts by its type alone.
"""

from __future__ import annotations

import datetime
import enum
import functools
import hashlib
import random
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

_NODES = 20_000  # parts of a value; a larger one counts by its type
_DEPTH = 12
_LITERAL: tuple[type, ...] = (torch.dtype, torch.device, torch.Size, range, slice, PurePath)
_LITERAL += (datetime.date, datetime.time, datetime.timedelta)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.BuiltinMethodType)
# Compared in a place of their own, or too much to look through.
_ELSEWHERE: tuple[type, ...] = (pl.Trainer, pl.LightningModule, pl.LightningDataModule)
_ELSEWHERE += (pl.Callback, Dataset, DataLoader, torch.optim.Optimizer, types.ModuleType)
_ELSEWHERE += (torch.optim.lr_scheduler.LRScheduler,)

GENERATORS: dict[type, Callable[[Any], Any]] = {
    torch.Generator: lambda each: each.get_state(),
    random.Random: lambda each: each.getstate(),
    np.random.Generator: lambda each: each.bit_generator.state,
    np.random.RandomState: lambda each: each.get_state(legacy=False),
}


class TooLarge(Exception):
    """There are too many parts to look at."""


class Marker:
    """Digests values.

    `alike` are texts, such as a run's own folder, that stand for the same; arrays of more than
    `size` bytes count by their shape.
    """

    def __init__(self, alike: Iterable[str] = (), *, size: float = float("inf")) -> None:
        self._alike = tuple(alike)
        self._size = size
        self._left = 0
        self._seen: dict[int, int] = {}
        self.opaque = False  # whether the last value had a part without readable content

    def __call__(self, value: Any) -> str:
        """The digest of a value."""
        self._left, self._seen, self.opaque = _NODES, {}, False
        try:
            return self._digest(value, _DEPTH).hex()
        except TooLarge:
            self.opaque = True
            return f"large {type(value).__qualname__}"

    def _digest(self, value: Any, depth: int) -> bytes:
        self._left -= 1
        if self._left < 0 or depth < 0:
            raise TooLarge
        tag, parts = self._taken_apart(value)
        found = hashlib.blake2b(tag.encode(errors="replace"), digest_size=8)
        if not parts:
            return found.digest()
        if id(value) in self._seen:
            return f"again {self._seen[id(value)]}".encode()
        self._seen[id(value)] = len(self._seen)
        digests = [each if isinstance(each, bytes) else self._digest(each, depth - 1)
                   for each in parts]  # fmt: skip
        del self._seen[id(value)]
        for each in sorted(digests) if tag in ("map", "set") else digests:
            found.update(each)
        return found.digest()

    def _taken_apart(self, value: Any) -> tuple[str, Iterable[Any]]:
        """What kind of value it is, and the parts that make it up."""
        kind = type(value)
        if isinstance(value, str):
            return f"text {self._told_alike(value)}", ()
        if value is None or isinstance(value, (bool, int, float, complex, np.number, np.bool_)):
            return _number(value), ()
        if isinstance(value, (bytes, bytearray)):
            return "bytes", [_hashed(value)]
        if isinstance(value, (enum.Enum, *_LITERAL)):
            return self._told_alike(f"{kind.__name__} {value!r}"), ()
        if isinstance(value, Tensor):
            return _tensor(value, self._size)
        if isinstance(value, np.ndarray):
            return _array(value, self._size)
        if isinstance(value, Mapping):
            return "map", [self._pair(key, each) for key, each in value.items()]
        if isinstance(value, (set, frozenset)):
            return "set", list(value)
        if isinstance(value, (list, tuple, deque)):
            return f"list {len(value)}", list(value)
        return self._object(value)

    def _pair(self, key: Any, value: Any) -> bytes:
        return self._digest(key, 2) + self._digest(value, _DEPTH - 2)

    def _object(self, value: Any) -> tuple[str, Iterable[Any]]:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(value, (type, *_FUNCTIONS)):
            return f"{value.__module__}.{value.__qualname__}", _closure(value)
        if kind in GENERATORS:
            return name, [GENERATORS[kind](value)]
        if isinstance(value, types.MethodType):
            return f"method {value.__func__.__qualname__}", ()
        if isinstance(value, functools.partial):
            return name, [value.func, value.args, value.keywords]
        if isinstance(value, types.GeneratorType):
            frame = value.gi_frame
            return name, [] if frame is None else [frame.f_lasti, dict(frame.f_locals)]
        if isinstance(value, _ELSEWHERE):
            return name, ()
        if isinstance(value, nn.Module):
            return name, [dict(value.named_parameters()), dict(value.named_buffers())]
        return name, self._inside(value)

    def _inside(self, value: Any) -> Iterable[Any]:
        if hasattr(value, "__next__"):
            return self._iterator(value)
        slots = [slot for base in type(value).__mro__ for slot in _slots(base)]
        held = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
        held |= getattr(value, "__dict__", {})
        if not held and not hasattr(value, "__dict__"):
            self.opaque = True
        return [held] if held else ()

    def _iterator(self, value: Any) -> Iterable[Any]:
        """Where an iterator stands, as its pickle would say."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns that itertools will lose it
            try:
                parts = value.__reduce__()
            except (TypeError, AttributeError):
                parts = None
        if isinstance(parts, tuple) and parts[0] is not None:
            return [each for each in parts[1:] if each is not None]
        self.opaque = True
        return ()

    def _told_alike(self, text: str) -> str:
        for each in self._alike:
            text = text.replace(each, "…")
        return text


def _number(value: Any) -> str:
    """A number counts by its value, not its type: what is restored may be a plain one."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, int) and abs(plain) < 2**53:
        plain = float(plain)
    return f"number {plain!r}"


def _hashed(content: Any) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def _tensor(value: Tensor, limit: float) -> tuple[str, Iterable[Any]]:
    name = f"tensor {tuple(value.shape)} {value.dtype}"
    if value.is_meta or value.numel() * value.element_size() > limit:
        return name, ()
    value = value.detach()
    if callable(local := getattr(value, "to_local", None)):
        value = local()
    if value.layout is not torch.strided:
        value = value.to_dense()
    if value.is_quantized:
        value = value.int_repr()
    bits = value.cpu().contiguous().flatten().view(torch.uint8)
    return name, [_hashed(bits.numpy())]


def _array(value: np.ndarray, limit: float) -> tuple[str, Iterable[Any]]:
    name = f"array {value.shape} {value.dtype.str}"
    if value.nbytes > limit:
        return name, ()
    if value.dtype.hasobject:
        return name, value.ravel().tolist()
    return name, [_hashed(np.ascontiguousarray(value))]


def _closure(value: Any) -> list[Any]:
    """What a function remembers."""
    cells = getattr(value, "__closure__", None) or ()
    return [each.cell_contents for each in cells if _is_filled(each)]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _slots(base: type) -> list[str]:
    slots = vars(base).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]
