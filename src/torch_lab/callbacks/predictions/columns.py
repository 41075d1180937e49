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

from torch_lab.callbacks.predictions.entries import Collated, entries, samples
from torch_lab.errors import ConfigurationError
from torch_lab.utils.text import shown, suggestion

RowFunction: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]

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
        found, usual = entries(outputs, known, count)
        table = Table()
        for name, source in self._chosen(found, usual).items():
            self._add(table, name, found[source], count)
        return table

    def _chosen(self, found: Mapping[str, Any], usual: Sequence[str]) -> Mapping[str, str]:
        if self.columns is None:
            return {name: name for name in usual}
        for source in self.columns.values():
            if source not in found:
                raise ConfigurationError(
                    f'predictions have no "{source}", which columns= names',
                    hint=suggestion(source, found),
                )
        return self.columns

    def _add(self, table: Table, name: str, values: Any, count: int) -> None:
        if isinstance(values, Collated):
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
        parts = samples(outputs, known, count)
        _require_length("they", len(parts), count)
        for number, sample in enumerate(parts):
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


def _array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype is torch.bfloat16 else value
        value = value.numpy()
    array: np.ndarray[Any, Any] = np.asarray(value)
    return array


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
