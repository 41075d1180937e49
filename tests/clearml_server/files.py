"""The files part: a form's files, streamed to a temporary file and renamed when they are whole."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from clearml_server.refusals import Refused

_CHUNK = 1 << 16


class Source(Protocol):
    """Where a request's body comes from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, none at the end."""


class Folder:
    """The files that were uploaded, by their paths."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._partial = root.parent / "partial"
        for folder in (self.root, self._partial):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where a file lies; nothing outside the folder has a name."""
        found = Path(os.path.normpath(self.root / unquote(name).lstrip("/")))
        if self.root not in found.parents:
            raise Refused(400, 0, "bad path")
        return found

    def store(self, body: Source, content_type: str) -> list[str]:
        """Keep the files of a form; their paths."""
        boundary = re.search(r'boundary="?([^";]+)', content_type)
        if boundary is None:
            raise Refused(400, 0, "not a form")
        form = _Form(body, b"\r\n--" + boundary[1].encode())
        return [self._keep(name, content) for name, content in form.files()]

    def _keep(self, name: str, content: Iterator[bytes]) -> str:
        target = self.path(name)
        partial = self._partial / uuid.uuid4().hex
        try:
            with partial.open("wb") as file:
                for part in content:
                    file.write(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return name

    def delete(self, name: str) -> bool:
        """Remove a file, if it is there."""
        path = self.path(name)
        there = path.is_file()
        path.unlink(missing_ok=True)
        return there

    def send(self, name: str, target: BufferedIOBase) -> None:
        """Copy a file to where it was asked for."""
        with self.path(name).open("rb") as file:
            shutil.copyfileobj(file, target, _CHUNK)


class _Form:
    """A multipart body, read once from front to back."""

    def __init__(self, body: Source, delimiter: bytes) -> None:
        self._body = body
        self._delimiter = delimiter
        self._held = b"\r\n"

    def files(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        for _ in self._until_delimiter():
            pass  # what precedes the first part
        while True:
            head = self._line()
            if head.startswith(b"--"):
                break
            headers = b""
            while line := self._line().strip():
                headers += line + b"\n"
            yield _name(headers.decode()), self._until_delimiter()
        while self._body.read(_CHUNK):
            pass

    def _more(self) -> None:
        read = self._body.read(_CHUNK)
        if not read:
            raise ConnectionError("the form ends before its end")
        self._held += read

    def _line(self) -> bytes:
        while b"\n" not in self._held:
            if self._held.startswith(b"--"):
                return self._held
            self._more()
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _until_delimiter(self) -> Iterator[bytes]:
        while (at := self._held.find(self._delimiter)) < 0:
            safe = len(self._held) - len(self._delimiter)
            if safe > 0:
                yield self._held[:safe]
                self._held = self._held[safe:]
            self._more()
        yield self._held[:at]
        self._held = self._held[at + len(self._delimiter) :]


def _name(headers: str) -> str:
    found = re.search(r'filename="([^"]*)"', headers) or re.search(r'name="([^"]*)"', headers)
    if found is None:
        raise Refused(400, 0, "a part without a name")
    return found[1]
