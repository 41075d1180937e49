"""What a batch is made of: its arrays, texts and lists by name, and the samples in them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]
_DENSE = 50_000_000  # values of a sparse matrix, above which it isn't looked into


@dataclass(frozen=True)
class Leaf:
    """One thing that the samples of a batch have; `values` holds each sample's.

    `shape` is that of the first batch, with the samples in front, where all are of one. A leaf
    that is not divided among the samples is `shared`: its only value is of all of them.
    """

    path: str
    values: list[Any]
    shape: tuple[int, ...] | None
    type: str
    shared: bool = False

    @property
    def arrays(self) -> list[Array]:
        """The values that are arrays."""
        return [each for each in self.values if isinstance(each, np.ndarray)]

    @property
    def uneven(self) -> bool:
        """Whether the values are arrays of different shapes."""
        return self.shape is None and bool(self.arrays)


@dataclass(frozen=True)
class Statistics:
    """Of all numbers of a leaf; None where there is no finite one."""

    low: float | None
    high: float | None
    mean: float | None
    nans: int
    infinities: int


def samples_in(batch: Any) -> int:
    """How many samples a batch has: the length of what lies on top of it."""
    found = list(_top(batch))
    for value in found:
        if (array := as_array(value)) is not None and array.ndim:
            return len(array)
    return next((len(each) for each in found if _is_list(each) and len(each)), 1)


def leaves(batches: Sequence[Any]) -> list[Leaf]:
    """All that the batches hold, in their order."""
    found: dict[str, list[Leaf]] = {}
    for batch in batches:
        for leaf in _leaves(batch):
            found.setdefault(leaf.path, []).append(leaf)
    return [_joined(each) for each in found.values()]


def statistics(leaf: Leaf) -> Statistics | None:
    """The range and the faults of what are numbers."""
    arrays = [each for each in leaf.arrays if each.dtype.kind in "biufc" and each.size]
    if not arrays:
        return None
    nans = infinities = count = 0
    low, high, total = math.inf, -math.inf, 0.0
    for array in arrays:  # one by one: batches can be large
        values = magnitudes(array)
        finite = values[np.isfinite(values)]
        missing = int(np.isnan(values).sum())
        nans, infinities = nans + missing, infinities + values.size - finite.size - missing
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            total, count = total + float(finite.sum(dtype=np.float64)), count + finite.size
    if not count:
        return Statistics(None, None, None, nans, infinities)
    return Statistics(low, high, total / count, nans, infinities)


def magnitudes(array: Array) -> Array:
    """Of complex numbers their magnitudes; of others what they are."""
    return np.abs(array) if array.dtype.kind == "c" else array


def as_array(value: Any) -> Array | None:
    """A tensor, array, image or number as an array; None if it is none."""
    if isinstance(value, torch.Tensor):
        return _of_tensor(value)
    if isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
        array = np.asarray(value)
        return array if array.dtype.kind in "biufc" else None
    if hasattr(value, "mode") and hasattr(value, "getbands"):  # an image of Pillow's
        return np.asarray(value)
    return _of_table(value)


def _of_table(value: Any) -> Array | None:
    """A sparse matrix, or a data frame or series of numbers, as estimators take them."""
    if hasattr(value, "nnz") and hasattr(value, "toarray"):
        array = value.toarray() if math.prod(value.shape) <= _DENSE else None
    elif hasattr(value, "iloc") and hasattr(value, "to_numpy"):
        array = value.to_numpy()
    else:
        return None
    return array if array is not None and array.dtype.kind in "biufc" else None


def _of_tensor(tensor: torch.Tensor) -> Array | None:
    if tensor.is_nested:
        return None
    dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    if dense.is_quantized:
        dense = dense.dequantize()
    if dense.dtype == torch.bfloat16 or (dense.is_floating_point() and dense.itemsize == 1):
        dense = dense.float()  # numpy knows none of these
    array: Array = dense.cpu().resolve_conj().resolve_neg().numpy()
    return array


def _leaves(batch: Any) -> Iterator[Leaf]:
    count = samples_in(batch)
    for path, value in _named(batch):
        yield from _below(path, value, count)


def _below(path: str, value: Any, count: int) -> Iterator[Leaf]:
    array = as_array(value)
    if array is not None:
        yield _of_array(path, array, _type(value), count)
    elif fields := _fields(value):
        for name, each in fields:
            yield from _below(f"{path}.{name}", each, count)
    elif _is_list(value) and len(value):
        yield from _of_list(path, value, count)
    else:
        yield Leaf(path, [value], None, type(value).__name__, shared=True)


def _of_array(path: str, array: Array, kind: str, count: int) -> Leaf:
    if array.ndim and len(array) == count:
        return Leaf(path, list(map(np.asarray, array)), array.shape, kind)
    return Leaf(path, [array], array.shape, kind, shared=True)


def _of_list(path: str, items: Sequence[Any], count: int) -> Iterator[Leaf]:
    """A list with a thing for each sample, or one of several that all samples have."""
    arrays = [as_array(each) for each in items]
    if all(array is not None for array in arrays) and _are_columns(arrays, count):
        for number, each in enumerate(items):
            yield from _below(f"{path}[{number}]", each, count)
    elif len(items) != count:
        yield Leaf(path, [list(items)], (len(items),), "list", shared=True)
    elif all(_fields(each) for each in items):
        yield from _of_records(path, items)
    else:
        values = [
            each if array is None else array for each, array in zip(items, arrays, strict=True)
        ]
        yield Leaf(path, values, _common_shape(values), _type(items[0]))


def _are_columns(arrays: Sequence[Any], count: int) -> bool:
    return all(each.ndim and len(each) == count for each in arrays) and len(arrays) != count


def _of_records(path: str, records: Sequence[Any]) -> Iterator[Leaf]:
    """A dict for each sample: one leaf for each key."""
    rows = [dict(_fields(each)) for each in records]
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        kept = _kept(values, [as_array(each) for each in values])
        kind = next((_type(each) for each in values if each is not None), "None")
        yield Leaf(f"{path}.{name}", kept, _common_shape(kept), kind)


def _kept(values: Sequence[Any], arrays: Sequence[Array | None]) -> list[Any]:
    """The values, as arrays where they are such."""
    pairs = zip(values, arrays, strict=True)
    return [value if array is None else array for value, array in pairs]


def _common_shape(values: Sequence[Any]) -> tuple[int, ...] | None:
    shapes = {each.shape if isinstance(each, np.ndarray) else None for each in values}
    shape = shapes.pop() if len(shapes) == 1 else None
    return None if shape is None else (len(values), *shape)


def _joined(found: Sequence[Leaf]) -> Leaf:
    """The leaves of several batches as one."""
    if found[0].shared:
        return found[0]
    values = [value for leaf in found for value in leaf.values]
    return dataclasses.replace(found[0], values=values)


def _top(batch: Any) -> Iterator[Any]:
    """The parts of a batch, and of dicts among them."""
    for _, value in _named(batch):
        fields = _fields(value)
        yield from (each for _, each in fields) if fields else (value,)


def _named(batch: Any) -> list[tuple[str, Any]]:
    """The parts of a batch by name: `x` and `md` as everywhere in torch-lab, else as they lie."""
    if as_array(batch) is not None:
        return [("x", batch)]
    if fields := _fields(batch):
        return fields
    if not _is_list(batch) or not len(batch) or all(isinstance(each, str) for each in batch):
        return [("x", batch)]
    if len(batch) == 2 and as_array(batch[0]) is not None:
        if isinstance(batch[1], Mapping) and not batch[1]:
            return [("x", batch[0])]
        return [("x", batch[0]), ("md" if _fields(batch[1]) else "y", batch[1])]
    return [(f"[{number}]", each) for number, each in enumerate(batch)]


def _fields(value: Any) -> list[tuple[str, Any]]:
    """The fields of dicts, named tuples and dataclasses."""
    if isinstance(value, Mapping):
        return [(str(key), each) for key, each in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return list(value._asdict().items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value)]
    return []


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not hasattr(value, "_asdict")


def _type(value: Any) -> str:
    kind = getattr(value, "dtype", None)
    return type(value).__name__ if kind is None else str(kind).removeprefix("torch.")
