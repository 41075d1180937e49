"""Where a text names the experiment that is cloned: as a path, or as a dotted name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Edit:
    """A part of a text to be replaced."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Move:
    """From one experiment's directory to another name beside it.

    `dotted` is its module name, where it has one of several parts; `copied` are the paths in it of
    the files that the clone gets.
    """

    directory: Path
    root: Path
    dotted: str | None
    new: str
    copied: frozenset[str]

    @property
    def old(self) -> str:
        """The name that gives way."""
        return self.directory.name

    @cached_property
    def word(self) -> re.Pattern[str]:
        """The old name, wherever it stands as a word: not in `00_digits_old`."""
        return re.compile(rf"(?<!\w){re.escape(self.old)}(?!\w)")

    @cached_property
    def _dotted(self) -> re.Pattern[str] | None:
        if self.dotted is None:
            return None
        return re.compile(rf"(?<![\w.]){re.escape(self.dotted)}(?![\w-])")

    @cached_property
    def _path(self) -> re.Pattern[str]:
        """The name as a whole part of a path, and what follows it there."""
        old = re.escape(self.old)
        return re.compile(rf"(?<![\w.-]){old}(?![\w-]|\.\w)(?P<after>(?:/[\w.+@%-]*)*)")

    def in_text(self, text: str, at: Path) -> Iterator[Edit]:
        """The names in a text of a file in the folder `at` that lead into the experiment."""
        if self._dotted is not None:
            for found in self._dotted.finditer(text):
                yield Edit(found.end() - len(self.old), found.end(), self.new)
        for found in self._path.finditer(text):
            name = found.start()
            start = _path_start(text, name)
            joined = text[start - 1 : start] in _JOINED
            if self.leads_inside(text[start:name], found["after"], at, joined=joined):
                yield Edit(name, name + len(self.old), self.new)

    def leads_inside(self, before: str, after: str, at: Path, *, joined: bool = True) -> bool:
        """Whether a path leads into the experiment, to something that the clone has as well.

        `joined`: a slash that it begins with may follow a part that is not known here.
        """
        rest = os.path.normpath(after.strip("/").rstrip(".")) if after.strip("/.") else ""
        if rest.startswith(".."):
            return False
        if not before.strip("/"):  # the name alone may be that of runs, or of a file made by them
            return rest in self.copied
        if not self._is_here(before, at, joined=joined):
            return False
        # What exists and isn't copied is shared with the source; what doesn't will be the clone's.
        return not rest or rest in self._folders or not (self.directory / rest).exists()

    @cached_property
    def _folders(self) -> frozenset[str]:
        above = (PurePosixPath(each).parents for each in self.copied)
        return self.copied | {str(each) for parents in above for each in parents}

    def _is_here(self, before: str, at: Path, *, joined: bool) -> bool:
        wanted = str(self.directory)
        if before.startswith("~/"):
            before = before.replace("~", str(Path.home()), 1)
        if before.startswith("/") and os.path.normpath(f"{before}{self.old}") == wanted:
            return True
        if before.startswith("/") and not joined:
            return False
        relative = before.lstrip("/") + self.old
        above = [at, *at.parents]
        bases = above[: above.index(self.root) + 1] if self.root in above else above[:1]
        return any(os.path.normpath(base / relative) == wanted for base in bases)


_JOINED = ("}", "'", '"', "")


def _path_start(text: str, name: int) -> int:
    """Where a path begins that goes on with the name at this position."""
    start = name
    if text[name - 1 : name] == "/":
        while start and (text[start - 1].isalnum() or text[start - 1] in "/._~+@%-"):
            start -= 1
    return start
