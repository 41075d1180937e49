"""Rows that come out of order, kept on disk in sorted runs until they are merged.

A file holds blocks of rows, then the list of its runs, then where that list begins. Rows that
come in order, as each of several devices gets them, make a single run.
"""

from __future__ import annotations

import heapq
import marshal
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

Key: TypeAlias = tuple[int, int, int]
Keyed: TypeAlias = tuple[Key, tuple[Any, ...]]
Block: TypeAlias = tuple[int, int]  # where it begins, how long it is

_SORTED_AT_ONCE = 50_000
_IN_A_BLOCK = 1_000
_CELLS = 1_000_000  # fewer rows at once where they are long
_END = struct.Struct("<Q")
_key = itemgetter(0)


@dataclass
class Spill:
    """Takes rows in any order; `close` makes the file readable by `Spilled`."""

    path: Path
    _runs: list[list[Block]] = field(default_factory=list)
    _rows: list[Keyed] = field(default_factory=list)
    _last: Key | None = None
    _most: int = _SORTED_AT_ONCE

    def __post_init__(self) -> None:
        self._file = self.path.open("xb")

    def add(self, keys: Iterable[Key], rows: Iterable[tuple[Any, ...]]) -> None:
        """Add some rows."""
        first = not self._rows and not self._runs
        self._rows.extend(zip(keys, rows, strict=True))
        if first and self._rows:
            self._most = rows_at_once(self._rows[0][1], _SORTED_AT_ONCE, _CELLS)
        if len(self._rows) >= self._most:
            self._write_rows()

    def close(self, about: Any) -> None:
        """Write what is left, and `about`, plain values that `Spilled` gives back."""
        self._write_rows()
        begin, _ = self._write(marshal.dumps((about, self._runs)))
        self._file.write(_END.pack(begin))
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _write_rows(self) -> None:
        if not self._rows:
            return
        self._rows.sort(key=_key)
        if self._last is None or self._rows[0][0] < self._last:
            self._runs.append([])
        self._last = self._rows[-1][0]
        size = max(1, min(_IN_A_BLOCK, self._most // 50))
        for start in range(0, len(self._rows), size):
            block = self._write(marshal.dumps(self._rows[start : start + size]))
            self._runs[-1].append(block)
        self._rows.clear()

    def _write(self, data: bytes) -> Block:
        begin = self._file.tell()
        self._file.write(data)
        return begin, len(data)


class Spilled:
    """A closed file of spilled rows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._file.seek(-_END.size, os.SEEK_END)
        (begin,) = _END.unpack(self._file.read())
        self._file.seek(begin)
        self.about, self._runs = marshal.loads(self._file.read()[: -_END.size])

    def runs(self) -> list[Iterator[Keyed]]:
        """The rows of each run, in order."""
        return [self._rows(blocks) for blocks in self._runs]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rows(self, blocks: Sequence[Block]) -> Iterator[Keyed]:
        for begin, length in blocks:
            yield from marshal.loads(os.pread(self._file.fileno(), length, begin))


def merged(files: Iterable[Spilled]) -> Iterator[tuple[Any, ...]]:
    """The rows of all files by their keys, one for each: some samplers repeat samples."""
    last: Key | None = None
    runs = [run for file in files for run in file.runs()]
    for key, row in heapq.merge(*runs, key=_key):
        if key != last:
            yield row
            last = key


def rows_at_once(row: Sequence[Any], most: int, cells: int) -> int:
    """How many rows like this one to hold in memory."""
    return max(1, min(most, cells // max(_cells(row), 1)))


def _cells(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_cells, value.values()))
    if isinstance(value, (list, tuple)):
        return 1 + sum(map(_cells, value))
    return 1 + len(value) // 100 if isinstance(value, (str, bytes)) else 1
