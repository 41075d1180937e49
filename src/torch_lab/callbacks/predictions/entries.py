"""What predict_step returned, by names: everything that could be a column.

A tensor or array holds a row for each sample. Of lists and tuples:

- a list as long as the batch holds its samples, and a tuple of as many texts, numbers or dicts;
- any other tuple holds batches, such as a network's heads: columns `y_pred_0`, `y_pred_1` …;
- so does a list of another length, if everything in it is as long as the batch.

So a list of two tensors is two samples in a batch of two: heads are safe in a tuple or a dict.
"""

from __future__ import annotations

import datetime
import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch

from torch_lab.utils import _separate

_SCALARS = (str, int, float, complex, bytes, os.PathLike, enum.Enum, datetime.date, datetime.time)
_ARRAYS = (torch.Tensor, np.ndarray)


@dataclass(frozen=True)
class Collated:
    """Metadata that collate has turned inside out: a list of pairs is a pair of batches."""

    values: Any

    def samples(self) -> Any:
        """A value for each sample."""
        return self.values if isinstance(self.values, _ARRAYS) else _separate.samples(self.values)


def entries(
    outputs: Any, known: Mapping[str, Sequence[Any]], count: int
) -> tuple[dict[str, Any], list[str]]:
    """Everything that could be a column, and the names of what is one unless asked otherwise."""
    parts = _parts(outputs, count)
    md = parts.pop("md", None)
    separated = is_metadata(md, count)
    predicted, further = _predicted(parts, count, separated)
    found: dict[str, Any] = {}
    usual: list[str] = []
    if separated or isinstance(md, Mapping):
        columns = _gathered(md, tensors=True) if separated else md
        for key, values in columns.items():
            name = f"md.{key}" if key in predicted or key in further else str(key)
            found[name] = values
            if not _is_scalars(values, count):
                found[name] = values if separated else Collated(values)
            elif not (key == "i" and "index" in columns):
                usual.append(name)
    elif md is not None:
        predicted["md"] = md
    usual += predicted
    found |= {**further, **predicted}
    for name, values in reversed(list(known.items())):
        if name not in found:
            found[name] = values
            usual.insert(0, name)
    return found, usual


def samples(outputs: Any, known: Mapping[str, Sequence[Any]], count: int) -> list[dict[str, Any]]:
    """A dict for each sample, as predict_step returned one for the batch."""
    if isinstance(outputs, list) and len(outputs) == count:
        parts: list[Any] = outputs
    else:
        whole = {"all": _marked(_on_cpu(outputs), count, bare=True)}
        separated = _separate.separate(whole, separate_fn_map={_Samples: _Samples.separate})
        parts = [sample["all"] for sample in separated]
    found = [dict(p) if isinstance(p, Mapping) else {"y_pred": p} for p in parts]
    if len(found) == count:
        for name, values in known.items():
            for sample, value in zip(found, values, strict=True):
                sample.setdefault(name, value)
    return found


def is_metadata(md: Any, count: int) -> TypeGuard[Sequence[Mapping[Any, Any]]]:
    """Whether it is a dict for each sample, as TransformSeparate and some collations leave it."""
    if not isinstance(md, (list, tuple)) or not md or len(md) != count:
        return False
    return all(isinstance(each, Mapping) for each in md)


# -- columns ---------------------------------------------------------------------------------


def _parts(outputs: Any, count: int) -> dict[str, Any]:
    """What predict_step returned, by its own keys."""
    if isinstance(outputs, Mapping):
        return {str(key): value for key, value in outputs.items()}
    if isinstance(outputs, tuple):
        names = getattr(outputs, "_fields", None) or [f"y_pred_{i}" for i in range(len(outputs))]
        return dict(zip(names, outputs, strict=True))
    if isinstance(outputs, list) and is_metadata(outputs, count):
        return {str(key): values for key, values in _by_keys(outputs).items()}
    return {"y_pred": outputs}


def _predicted(
    parts: Mapping[str, Any], count: int, separated: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns, and what else can be asked for."""
    columns: dict[str, Any] = {}
    further: dict[str, Any] = {}
    for key, value in parts.items():
        hidden = key == "y_pred" and "out" in parts
        names_itself = key in ("out", "y_pred") and not hidden
        if names_itself and isinstance(value, (list, tuple)) and _are_samples(value, count):
            gathered = _gathered(value, tensors=separated and key == "out")
            if gathered is not value:
                further[key], value = value, gathered
        found = _columns(key, value, count, names_itself)
        (further if hidden else columns).update(found)
    return columns, further


def _columns(name: str, value: Any, count: int, names_itself: bool = False) -> dict[str, Any]:
    """Dicts within, and tuples of batches, column by column."""
    if hasattr(value, "_fields"):
        value = dict(zip(value._fields, value, strict=True))
    columns: dict[str, Any] = {}
    if isinstance(value, Mapping):
        for key, part in value.items():
            columns |= _columns(str(key) if names_itself else f"{name}.{key}", part, count)
    elif isinstance(value, (list, tuple)) and _are_batches(value, count):
        for i, part in enumerate(value):
            columns |= _columns(f"{name}_{i}", part, count)
    else:
        columns[name] = value
    return columns


def _are_samples(values: Sequence[Any], count: int) -> bool:
    if len(values) != count or hasattr(values, "_fields"):
        return False
    if isinstance(values, list):
        return True
    if any(isinstance(each, (*_ARRAYS, list, tuple)) for each in values):
        return False
    return not all(_is_batch(each, count) for each in values)


def _are_batches(values: Sequence[Any], count: int) -> bool:
    if not values or _are_samples(values, count):
        return False
    return isinstance(values, tuple) or all(_is_batch(each, count) for each in values)


def _is_batch(value: Any, count: int) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(_is_batch(each, count) for each in value.values())
    if isinstance(value, _ARRAYS):
        return value.ndim > 0 and len(value) == count
    return isinstance(value, list) and len(value) == count


def _gathered(values: Any, *, tensors: bool) -> Any:
    """Samples as batches: of dicts a dict of lists; of tensors of one shape, a tensor."""
    if not values:
        return values
    if all(isinstance(each, Mapping) for each in values):
        return {k: _gathered(part, tensors=tensors) for k, part in _by_keys(values).items()}
    if not tensors:
        return values
    if all(isinstance(each, torch.Tensor) for each in values):
        same = len({(each.shape, each.dtype, each.device) for each in values}) == 1
        return torch.stack(list(values)) if same else values
    if all(isinstance(each, tuple) for each in values) and len(set(map(len, values))) == 1:
        batches = [_gathered(list(part), tensors=True) for part in zip(*values, strict=True)]
        named = hasattr(values[0], "_fields")
        return type(values[0])(*batches) if named else tuple(batches)
    return values


def _by_keys(dicts: Sequence[Mapping[Any, Any]]) -> dict[Any, list[Any]]:
    keys = dict.fromkeys(key for each in dicts for key in each)
    return {key: [each.get(key) for each in dicts] for key in keys}


def _is_scalars(values: Any, count: int) -> bool:
    """Whether a metadata entry holds a number or text for each sample."""
    if isinstance(values, _ARRAYS):
        return values.ndim == 1 and len(values) == count
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        return False
    return len(values) == count and all(
        value is None or isinstance(value, (*_SCALARS, np.generic)) for value in values
    )


# -- samples ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Samples:
    """What `separate` shall not take for batches."""

    values: Sequence[Any]

    def separate(self, separate_fn_map: Any = None) -> list[Any]:
        return list(self.values)


def _marked(value: Any, count: int, *, bare: bool = False) -> Any:
    """With lists of samples told apart from lists of batches."""
    if isinstance(value, Mapping):
        return {key: _marked_part(key, part, count) for key, part in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    if not bare and _are_samples(value, count):
        return _Samples(value)
    parts = [_marked(each, count) for each in value]
    if hasattr(value, "_fields"):
        return type(value)(*parts)
    return parts if isinstance(value, list) else tuple(parts)


def _marked_part(key: Any, part: Any, count: int) -> Any:
    if key == "md":
        return _Samples(part) if is_metadata(part, count) else part
    return _marked(part, count)


def _on_cpu(value: Any) -> Any:
    """One copy for the batch, and not one for each number that is looked at."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: _on_cpu(part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_on_cpu, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_on_cpu, value))
    return value
