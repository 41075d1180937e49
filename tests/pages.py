"""The blocks that a page shows: commands with their output, and code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.py)\n")
_UNITS = r"(?:ms|s|min|h|B|kB|MB)"
_NUMBER = rf"\d+(?:\.\d+)?(?:e[+-]?\d+)?(?: {_UNITS}\b)?"
_VARIES = re.compile(rf"\b(?=\w*\d)[0-9a-f]{{8}}\b|{_NUMBER}(?: {_NUMBER})*")


@dataclass(frozen=True)
class Command:
    """A command as it is typed, and the lines shown below it."""

    text: str
    output: tuple[str, ...]

    def missing(self, said: str) -> list[str]:
        """The shown lines that were not said, in this order, whatever their numbers are.

        "…" stands for anything.
        """
        lines = iter(map(_masked, said.splitlines()))
        return [
            line
            for line in self.output
            if line != "…" and not any(_pattern(line).fullmatch(each) for each in lines)
        ]


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that a block of code says it is, in its first line."""
        found = _FILE.match(self.text)
        return found.group(1) if found else None

    @property
    def commands(self) -> list[Command]:
        """The commands of a console block."""
        head, *shown = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        assert not head, f"a console block begins with a command, not with {head!r}"
        return [
            Command(first, tuple(rest)) for first, *rest in (each.splitlines() for each in shown)
        ]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(*found) for found in _FENCED.findall(page.read_text())]


def commands(page: Path) -> list[str]:
    """All commands that a page shows."""
    shown = [block.commands for block in blocks(page) if block.language == "console"]
    return [command.text for each in shown for command in each]


def _masked(line: str) -> str:
    return " ".join(_VARIES.sub("#", line).split())


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _masked(line).split("…")))
