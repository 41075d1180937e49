"""Lines of a run's files, first those that are there, then those that come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from torch_lab.store.segments import Placed, content_of, limits, parsed, segments

P = TypeVar("P", bound=Placed)


class Follower(Generic[P]):
    """What counts in a folder of segments; the last one is still being written."""

    def __init__(self, folder: Path, parse: Callable[[dict[str, Any]], P | None]) -> None:
        self._folder = folder
        self._parse = parse
        self._file: BinaryIO | None = None

    def poll(self) -> Iterator[P]:
        """What has come since the last time."""
        if self._file is None:
            found = segments(self._folder)
            if not found:
                return
            yield from self._earlier(found)
            self._file = found[-1].open("rb")
        yield from self._whole_lines(self._file)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _earlier(self, found: list[Path]) -> Iterator[P]:
        *before, _ = zip(found, limits(found), strict=True)
        for segment, limit in before:
            for each in parsed(segment, self._parse):
                if each.batch <= limit:
                    yield each

    def _whole_lines(self, file: BinaryIO) -> Iterator[P]:
        while line := file.readline():
            if not line.endswith(b"\n"):  # its end is still to come
                file.seek(-len(line), 1)
                return
            content = content_of(line)
            made = None if content is None else self._parse(content)
            if made is not None:
                yield made
