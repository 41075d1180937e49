"""Tables of all sorts made CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.utils.text import plural, shown


def csv_of(rows: Any, columns: Sequence[str] | None = None) -> str:
    """Rows as dicts or sequences, a dict of columns, or a data frame, as CSV with a header."""
    names, table = _table(rows, list(columns) if columns is not None else None)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in table)
    return text.getvalue()


def _table(rows: Any, columns: list[str] | None) -> tuple[list[Any], list[Any]]:
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):  # pandas, polars and the like
        rows = {name: rows[name] for name in rows.columns}
    if isinstance(rows, Mapping):
        return _from_columns(rows, columns)
    if isinstance(rows, (str, bytes)) or not hasattr(rows, "__iter__"):
        raise ConfigurationError(
            f"can't make a table of {shown(rows)}",
            hint="Give a list of dicts or of sequences, a dict of columns, or a data frame.",
        )
    every = list(rows)
    if every and all(isinstance(row, Mapping) for row in every):
        names = columns or list(dict.fromkeys(name for row in every for name in row))
        return names, [[row.get(name) for name in names] for row in every]
    return _from_rows(every, columns)


def _from_columns(
    rows: Mapping[Any, Any], columns: list[str] | None
) -> tuple[list[Any], list[Any]]:
    names = columns or list(rows)
    missing = [name for name in names if name not in rows]
    if missing:
        raise ConfigurationError(f"the table has no column {missing[0]!r}; it has {list(rows)}")
    values = [list(rows[name]) for name in names]
    lengths = {str(name): len(each) for name, each in zip(names, values, strict=True)}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ConfigurationError(f"the table's columns differ in length ({found})")
    return names, list(zip(*values, strict=True))


def _from_rows(rows: list[Any], columns: list[str] | None) -> tuple[list[Any], list[Any]]:
    made = []
    for row in rows:
        if isinstance(row, (str, bytes, Mapping)) or not hasattr(row, "__iter__"):
            raise ConfigurationError(
                f"a row of the table is {shown(row)}: expected all to be dicts, or all sequences"
            )
        made.append(list(row))
    width = len(columns) if columns is not None else len(made[0]) if made else 0
    for number, row in enumerate(made):
        if len(row) != width:
            raise ConfigurationError(
                f"row {number} of the table has {plural(len(row), 'value')} for"
                f" {plural(width, 'column')}"
            )
    return columns or list(map(str, range(width))), made


def _plain(value: Any) -> Any:
    """Scalars of array libraries as numbers; None is an empty cell."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    return value
