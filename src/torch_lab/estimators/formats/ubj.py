"""Universal Binary JSON as XGBoost writes it, read without trusting a single length in it."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from torch_lab.estimators.formats.shapes import Unsound

_NUMBERS = {
    b"i": ">i1",
    b"U": ">u1",
    b"I": ">i2",
    b"l": ">i4",
    b"L": ">i8",
    b"d": ">f4",
    b"D": ">f8",
}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 40


def read(data: bytes) -> dict[str, Any]:
    """The object that `data` holds; arrays of numbers as numpy's. Unsound where it holds none."""
    reader = _Reader(data)
    try:
        found = reader.value(0)
    except (UnicodeDecodeError, struct.error, MemoryError) as error:
        raise Unsound("it is not the UBJ that XGBoost writes") from error
    if not isinstance(found, dict) or reader.position != len(data):
        raise _torn()
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def value(self, depth: int) -> Any:
        return self._of(self._take(1), depth)

    def _of(self, kind: bytes, depth: int) -> Any:
        if depth > _DEEPEST:
            raise _torn()
        if kind == b"{":
            return self._object(depth)
        if kind == b"[":
            return self._array(depth)
        if kind == b"S":
            return self._text()
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        return self._numbers(kind, 1)[0].item()

    def _object(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not self._skip(b"}"):
            name = self._text()
            if name in made:  # which one would XGBoost take?
                raise _torn()
            made[name] = self.value(depth + 1)
        return made

    def _array(self, depth: int) -> Any:
        kind = self._take(1) if self._skip(b"$") else None
        if self._skip(b"#"):
            count = self._count()
            if kind is not None:
                return self._numbers(kind, count)
            self._require(count)  # each takes a byte at least
            return [self.value(depth + 1) for _ in range(count)]
        if kind is not None:
            raise _torn()
        made = []
        while not self._skip(b"]"):
            made.append(self.value(depth + 1))
        return made

    def _text(self) -> str:
        return self._take(self._count()).decode()

    def _count(self) -> int:
        count = self._numbers(self._take(1), 1)[0].item()
        if not isinstance(count, int) or count < 0:
            raise _torn()
        return count

    def _numbers(self, kind: bytes, count: int) -> np.ndarray:
        if kind not in _NUMBERS:
            raise _torn()
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self._take(count * dtype.itemsize), dtype)

    def _skip(self, mark: bytes) -> bool:
        found = self._data[self.position : self.position + 1] == mark
        self.position += found
        return found

    def _take(self, count: int) -> bytes:
        self._require(count)
        start, self.position = self.position, self.position + count
        return self._data[start : self.position]

    def _require(self, count: int) -> None:
        if count > len(self._data) - self.position:
            raise _torn()


def _torn() -> Unsound:
    return Unsound("it is not the UBJ that XGBoost writes")
