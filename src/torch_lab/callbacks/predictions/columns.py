"""The predictions of a batch as columns: a name, a plain value for each sample, a type."""

from __future__ import annotations

import datetime
import enum
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch

from torch_lab.errors import ConfigurationError
from torch_lab.utils import _separate
from torch_lab.utils.text import shown, suggestion

RowFunction: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]

_SCALARS = (str, int, float, complex, bytes, os.PathLike, enum.Enum, datetime.date, datetime.time)
_HOW = "say what a row holds: PredictionWriter(path, columns=[…]), or row=function"


@dataclass
class Table:
    """Some rows, column by column; a type is numpy's name for it, where there is one."""

    columns: dict[str, list[Any]] = field(default_factory=dict)
    types: dict[str, str | None] = field(default_factory=dict)

    def add(self, name: str, values: list[Any], kind: str | None = None) -> None:
        """Add a column."""
        if name in self.columns:
            raise ConfigurationError(f'predictions: two columns are called "{name}"', hint=_HOW)
        self.columns[name], self.types[name] = values, kind

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


@dataclass(frozen=True)
class _Collated:
    """Metadata that collate has turned inside out: a list of pairs is a pair of batches."""

    values: Any

    def samples(self) -> Any:
        arrays = isinstance(self.values, (torch.Tensor, np.ndarray))
        return self.values if arrays else _separate.samples(self.values)


@dataclass(frozen=True)
class Layout:
    """What a row holds, and how the file's format wants it."""

    row: RowFunction | None = None
    columns: Mapping[str, str] | None = None
    digits: bool = False  # float32 as 0.1, and not the 0.10000000149011612 that it is as a float
    flat: bool = False  # a cell holds one thing: a vector is spread over columns

    def table(self, outputs: Any, known: Mapping[str, Sequence[Any]], count: int) -> Table:
        """The rows of a batch; `known` is what the writer itself knows of its samples."""
        if self.row is not None:
            return self._computed(self.row, outputs, known, count)
        entries, usual = _entries(outputs, known, count)
        table = Table()
        for name, source in self._chosen(entries, usual).items():
            self._add(table, name, entries[source], count)
        return table

    def _chosen(self, entries: Mapping[str, Any], usual: Sequence[str]) -> Mapping[str, str]:
        if self.columns is None:
            return {name: name for name in usual}
        for source in self.columns.values():
            if source not in entries:
                raise ConfigurationError(
                    f'predictions have no "{source}", which columns= names',
                    hint=suggestion(source, entries),
                )
        return self.columns

    def _add(self, table: Table, name: str, values: Any, count: int) -> None:
        if isinstance(values, _Collated):
            values = values.samples()
        if isinstance(values, (torch.Tensor, np.ndarray)):
            self._add_array(table, name, _array(values), count)
            return
        if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
            raise ConfigurationError(_not_a_sample_each(name, values, count), hint=_HOW)
        _require_length(name, len(values), count)
        table.add(name, [self._cell(value) for value in values])

    def _add_array(self, table: Table, name: str, array: np.ndarray[Any, Any], count: int) -> None:
        if not array.ndim:
            raise ConfigurationError(_not_a_sample_each(name, array.item(), count), hint=_HOW)
        _require_length(name, len(array), count)
        if array.ndim > 1 and array[0:1].size == 1:
            array = array.reshape(-1)  # of a network with one output
        kind = array.dtype.name
        if self.flat and array.ndim == 2:
            for i in range(array.shape[1]):
                table.add(f"{name}_{i}", self._column(array[:, i]), kind)
        else:
            table.add(name, self._column(array), kind)

    def _column(self, array: np.ndarray[Any, Any]) -> list[Any]:
        if self.flat and array.dtype.kind == "f" and array.itemsize < 8 and array.ndim == 1:
            return list(map(str, array))  # as good in a CSV, and half the work
        numbers: list[Any] = self._numbers(array)
        return numbers

    def _numbers(self, array: np.ndarray[Any, Any]) -> Any:
        """Plain numbers, in lists as the array is."""
        if not (self.digits and array.dtype.kind == "f" and array.itemsize < 8):
            return array.tolist()
        shortest = list(map(float, map(str, array.reshape(-1))))
        if array.ndim < 2:
            return shortest if array.ndim else shortest[0]
        return np.array(shortest).reshape(array.shape).tolist()

    def _cell(self, value: Any) -> Any:
        """A plain value: None, bool, number, text, bytes, list or dict."""
        if value is None or type(value) in (str, int, float, bool, bytes):
            return value
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
            return self._numbers(_array(value))
        if isinstance(value, Mapping):
            return {str(key): self._cell(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._cell(item) for item in value]
        return _plain(value)

    # -- rows made by the user's function ----------------------------------------------------

    def _computed(
        self, function: RowFunction, outputs: Any, known: Mapping[str, Sequence[Any]], count: int
    ) -> Table:
        table = Table()
        for number, sample in enumerate(_samples(outputs, known, count)):
            row = function(sample)
            if not isinstance(row, Mapping) or not row:
                raise ConfigurationError(
                    f"row= has to return a dict of columns for each sample; got {shown(row)}"
                )
            cells = self._row_cells(row)
            if not number:
                for name in cells:
                    table.add(name, [], _kind(row.get(name)))
            elif cells.keys() != table.columns.keys():
                raise OtherColumns(number, list(cells), list(table.columns))
            for name, value in cells.items():
                table.columns[name].append(value)
        return table

    def _row_cells(self, row: Mapping[str, Any]) -> dict[str, Any]:
        cells: dict[str, Any] = {}
        for name, value in row.items():
            cell = self._cell(value)
            if self.flat and isinstance(value, (torch.Tensor, np.ndarray)) and value.ndim == 1:
                cells |= {f"{name}_{i}": number for i, number in enumerate(cell)}
            else:
                cells[str(name)] = cell
        return cells


class OtherColumns(Exception):
    """The columns of the row `number` of a batch are others than those before it."""

    def __init__(self, number: int, found: Sequence[str], expected: Sequence[str]) -> None:
        super().__init__(number, found, expected)
        self.number, self.found, self.expected = number, found, expected


def _entries(
    outputs: Any, known: Mapping[str, Sequence[Any]], count: int
) -> tuple[dict[str, Any], list[str]]:
    """Everything that could be a column, and the names of what is one unless asked otherwise."""
    parts = _named(outputs, count)
    transformed = isinstance(outputs, Mapping) and "out" in outputs
    md = parts.pop("md", None)
    entries: dict[str, Any] = {}
    usual: list[str] = []
    if isinstance(md, Mapping):
        for key, values in md.items():
            name = str(key) if key not in parts else f"md.{key}"
            entries[name] = values
            if not _is_scalars(values, count):
                entries[name] = _Collated(values)
            elif not (key == "i" and "index" in md):
                usual.append(name)
    elif md is not None:
        parts["md"] = md
    for name in parts:
        entries[name] = parts[name]
        if not (name == "y_pred" and transformed):
            usual.append(name)
    for name, values in reversed(list(known.items())):
        if name not in entries:
            entries[name] = values
            usual.insert(0, name)
    return entries, usual


def _named(outputs: Any, count: int) -> dict[str, Any]:
    """What predict_step returned, by names."""
    if isinstance(outputs, Mapping):
        return _flat(outputs)
    if isinstance(outputs, tuple):
        names = getattr(outputs, "_fields", None) or [f"y_pred_{i}" for i in range(len(outputs))]
        return _flat(dict(zip(names, outputs, strict=True)))
    if isinstance(outputs, list) and len(outputs) == count and count:
        first = outputs[0]
        if isinstance(first, Mapping) and all(isinstance(each, Mapping) for each in outputs):
            return {str(key): [each.get(key) for each in outputs] for key in first}
    return {"y_pred": outputs}


def _flat(outputs: Mapping[Any, Any]) -> dict[str, Any]:
    """Dicts within: an `out` or `y_pred` that is one names its columns itself."""
    flat: dict[str, Any] = {}
    for key, value in outputs.items():
        if key == "md" or not isinstance(value, Mapping):
            flat[str(key)] = value
        elif key == "out" or (key == "y_pred" and "out" not in outputs):
            flat |= {str(name): part for name, part in value.items()}
        elif key != "y_pred":
            flat |= {f"{key}.{name}": part for name, part in value.items()}
    return flat


def _samples(outputs: Any, known: Mapping[str, Sequence[Any]], count: int) -> list[dict[str, Any]]:
    """A dict for each sample, as predict_step returned one for the batch."""
    if isinstance(outputs, list) and len(outputs) == count:
        parts: list[Any] = outputs
    else:
        parts = _separate.samples(_on_cpu(outputs))
        _require_length("they", len(parts), count)
    samples = [dict(p) if isinstance(p, Mapping) else {"y_pred": p} for p in parts]
    for name, values in known.items():
        for sample, value in zip(samples, values, strict=True):
            sample.setdefault(name, value)
    return samples


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


def _array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype is torch.bfloat16 else value
        value = value.numpy()
    array: np.ndarray[Any, Any] = np.asarray(value)
    return array


def _is_scalars(values: Any, count: int) -> bool:
    """Whether a metadata entry holds a number or text for each sample."""
    if isinstance(values, (torch.Tensor, np.ndarray)):
        return values.ndim == 1 and len(values) == count
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        return False
    return len(values) == count and all(
        value is None or isinstance(value, (*_SCALARS, np.generic)) for value in values
    )


def _kind(value: Any) -> str | None:
    if isinstance(value, torch.Tensor):
        return None if value.dtype is torch.bfloat16 else str(value.dtype).removeprefix("torch.")
    return value.dtype.name if isinstance(value, (np.ndarray, np.generic)) else None


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    for kind in (bool, int, float, str):  # subclasses
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _require_length(name: str, length: int, count: int) -> None:
    if length != count:
        raise ConfigurationError(
            f"predictions: {name} holds {length} for a batch of {count} samples",
            hint="predict_step has to return one of everything for each sample;"
            f" what it returns besides can be left out: {_HOW}",
        )


def _not_a_sample_each(name: str, value: Any, count: int) -> str:
    return f"predictions: {name} is {shown(value)}, not one for each of {count} samples"
