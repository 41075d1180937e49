"""The formats of a file of predictions: CSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from torch_lab.callbacks.predictions.spill import rows_at_once
from torch_lab.errors import ConfigurationError
from torch_lab.utils.text import nearest

INSTALL = "pip install 'torch-lab[parquet]'"


class Sink(Protocol):
    """A file that takes rows column by column; the columns and types are the first ones'."""

    def write(self, columns: Mapping[str, list[Any]]) -> None:
        """Append rows."""

    def close(self) -> None:
        """Finish the file and flush it to disk."""

    def abandon(self) -> None:
        """Close the file as it is."""


class Csv:
    """UTF-8, a header, None as an empty field, lists and dicts as JSON."""

    def __init__(self, path: Path, types: Mapping[str, str | None], *, packed: bool) -> None:
        self._file = _TextFile(path, packed)
        self._rows = csv.writer(self._file.text, lineterminator="\n")
        self._rows.writerow(types)

    def write(self, columns: Mapping[str, list[Any]]) -> None:
        """Append rows."""
        self._rows.writerows(zip(*map(_csv_cells, columns.values()), strict=True))

    def close(self) -> None:
        """Finish the file and flush it to disk."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._file.abandon()


class JsonLines:
    """An object a line; strict JSON, in which NaN and infinities are texts."""

    def __init__(self, path: Path, types: Mapping[str, str | None], *, packed: bool) -> None:
        self._file = _TextFile(path, packed)
        names = (encode_basestring(name).replace("%", "%%") for name in types)
        # A line is put together from its cells: several times as fast as encoding a dict.
        self._line = f"{{{', '.join(f'{name}: %s' for name in names)}}}\n"

    def write(self, columns: Mapping[str, list[Any]]) -> None:
        """Append rows."""
        cells = zip(*map(_json_cells, columns.values()), strict=True)
        self._file.text.writelines(map(self._line.__mod__, cells))

    def close(self) -> None:
        """Finish the file and flush it to disk."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._file.abandon()


class Parquet:
    """Typed columns, written in row groups of bounded size."""

    def __init__(self, path: Path, types: Mapping[str, str | None]) -> None:
        self._file = path.open("xb")
        self._types = types
        self._waiting: dict[str, list[Any]] = {name: [] for name in types}
        self._writer: Any = None
        self._written = 0
        self._most = 0

    def write(self, columns: Mapping[str, list[Any]]) -> None:
        """Append rows."""
        for name, values in columns.items():
            self._waiting[name].extend(values)
        if not self._most:
            row = [values[0] for values in self._waiting.values()]
            self._most = rows_at_once(row, 100_000, 4_000_000)
        if len(next(iter(self._waiting.values()))) >= self._most:
            self._write_group()

    def close(self) -> None:
        """Finish the file and flush it to disk."""
        self._write_group()
        self._writer.close()
        _to_disk(self._file)

    def abandon(self) -> None:
        """Close the file as it is."""
        with suppress(OSError, ValueError):  # on a full disk its end can't be written either
            if self._writer is not None:
                self._writer.close()
        with suppress(OSError):
            self._file.close()

    def _write_group(self) -> None:
        pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
        if not next(iter(self._waiting.values()), None) and self._writer is not None:
            return
        schema = self._writer.schema if self._writer is not None else None
        arrays = {
            name: self._array(name, values, schema.field(name).type if schema else None)
            for name, values in self._waiting.items()
        }
        table = pa.table(arrays, schema=schema)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)
        self._written += len(table)
        for values in self._waiting.values():
            values.clear()

    def _array(self, name: str, values: list[Any], kind: Any) -> Any:
        pa = import_module("pyarrow")
        kind = kind or _arrow_type(self._types[name], values)
        try:
            array = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise self._mixed(name, values, kind, error) from error
        # Nothing but None so far: what is to come has to be text.
        return array.cast(pa.string()) if pa.types.is_null(array.type) else array

    def _mixed(self, name: str, values: list[Any], kind: Any, error: Exception) -> Exception:
        expected = f"{kind} as in the first rows" if kind is not None else "one type"
        return ConfigurationError(
            f'predictions: column "{name}" of a Parquet file has to hold {expected},'
            f" and can't in rows {self._written} to {self._written + len(values) - 1}: {error}",
            hint="Give the column one type in row=, or write CSV or JSON lines.",
        )


def _arrow_type(kind: str | None, values: list[Any]) -> Any:
    """The type of a tensor's numbers, in lists as deep as the values are; None: infer it."""
    pa = import_module("pyarrow")
    if kind is None:
        return None
    try:
        found = pa.type_for_alias(kind)
    except ValueError:
        return None
    value = next((value for value in values if value is not None), None)
    while isinstance(value, list):
        found = pa.list_(found)
        value = value[0] if value else None
    return found


# -- by the file's ending --------------------------------------------------------------------

Maker = Callable[[Path, Mapping[str, str | None]], Sink]


def _texts(kind: Any, *, packed: bool) -> Maker:
    return lambda path, types: kind(path, types, packed=packed)


FORMATS: dict[str, Maker] = {
    ".csv": _texts(Csv, packed=False),
    ".csv.gz": _texts(Csv, packed=True),
    ".jsonl": _texts(JsonLines, packed=False),
    ".jsonl.gz": _texts(JsonLines, packed=True),
    ".ndjson": _texts(JsonLines, packed=False),
    ".ndjson.gz": _texts(JsonLines, packed=True),
    ".parquet": Parquet,
}


def format_of(path: Path) -> str:
    """The ending that says the format, or an error that names those there are."""
    endings = [end for end in FORMATS if path.name.lower().endswith(end) and path.name != end]
    if not endings:
        suffixes = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])
        near = nearest(suffixes, FORMATS)
        raise ConfigurationError(
            f"PredictionWriter({str(path)!r}): the ending says the format, and"
            f" {f'{suffixes!r} is none' if suffixes else 'there is none'}",
            hint=(f"Did you mean {near}? " if near else "") + f"There are {', '.join(FORMATS)}.",
        )
    if endings[0] == ".parquet":
        _require_pyarrow(path)
    return endings[0]


def _require_pyarrow(path: Path) -> None:
    try:
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(
            f"PredictionWriter({str(path)!r}): Parquet needs pyarrow, which is missing here",
            hint=f"{INSTALL}, or write .csv or .jsonl.",
        ) from error


# -- text ------------------------------------------------------------------------------------


class _TextFile:
    """UTF-8 text, with gzip or without; lone surrogates, as in odd file names, are escaped."""

    def __init__(self, path: Path, packed: bool) -> None:
        self._file: BinaryIO = path.open("xb")
        self._packed: Any = None
        if packed:
            # No name and no time in the header: equal rows, equal bytes.
            self._packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=self._file, mtime=0)
        self.text = io.TextIOWrapper(
            self._packed or self._file, encoding="utf-8", errors="backslashreplace", newline=""
        )

    def close(self) -> None:
        self.text.detach()  # flushes
        if self._packed is not None:
            self._packed.close()
        _to_disk(self._file)

    def abandon(self) -> None:
        for file in (self.text, self._file):
            with suppress(OSError, ValueError):  # what is buffered may not fit on the disk
                file.close()


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, default=lambda v: _text(v)).encode


def _json_cells(values: list[Any]) -> list[str]:
    kinds = set(map(type, values))
    if kinds == {int} or (kinds == {float} and all(map(math.isfinite, values))):
        return list(map(repr, values))
    if kinds == {str}:
        return list(map(encode_basestring, values))
    return [_encode(_finite(value)) for value in values]


_NESTED = frozenset({list, dict, bytes})


def _csv_cells(values: list[Any]) -> list[Any]:
    if _NESTED.isdisjoint(map(type, values)):
        return values
    return [_csv_cell(value) for value in values]


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return _text(value)
    if not isinstance(value, (list, dict)):
        return value
    return json.dumps(_finite(value), ensure_ascii=False, default=_text)


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    """What JSON and CSV have no word for: bytes, complex numbers."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
