"""What a verb takes: its options, and its places, read from the usage lines of its help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from torch_lab.cli.options import Option

_WORD = re.compile(r"\[?(?P<name>[A-Z]+)(?P<rest>[\[:A-Z\]]*)(?P<more>…?)\]?")


@dataclass(frozen=True)
class Place:
    """A word on the command line by the name it has in the help: HPARAMS, RUN."""

    name: str
    checkpoint: bool = False  # RUN[:CHECKPOINT]
    repeats: bool = False


@dataclass(frozen=True)
class Verb:
    """The options of a verb, and what may stand in each way of using it."""

    name: str
    options: tuple[Option, ...]
    usages: tuple[tuple[Place, ...], ...]

    def option(self, word: str) -> Option | None:
        """The option of that name."""
        names = ((each, (each.name, each.short, each.alias)) for each in self.options)
        return next((each for each, known in names if word and word in known), None)

    def places(self, number: int) -> list[Place]:
        """What the word of that number can be: in each usage something else, perhaps."""
        found = [place for usage in self.usages for place in _at(usage, number)]
        return list(dict.fromkeys(found))


def verb(name: str) -> Verb:
    """What is known of a verb."""
    module = import_module(f"torch_lab.cli.{name}")
    return Verb(name, tuple(module.OPTIONS), usages(module.HELP_TEXT, name))


def usages(help_text: str, name: str) -> tuple[tuple[Place, ...], ...]:
    """The places in each of the first lines of a help, up to the empty one."""
    head = help_text.partition("\n\n")[0].splitlines()
    lines = (re.split(r"\s{3,}", line.strip())[0] for line in head if line[:1] != " ")
    words = (line.removeprefix("lab ").removeprefix(name).split() for line in lines)
    return tuple(tuple(_places(each)) for each in words)


def _places(words: Sequence[str]) -> list[Place]:
    """The places among the words of a usage line: what follows an option is its value."""
    found = []
    for before, word in zip(["", *words], words, strict=False):
        match = _WORD.fullmatch(word)
        if match is not None and not before.lstrip("[").startswith("--"):
            found.append(Place(match["name"], bool(match["rest"]), bool(match["more"])))
    return found


def _at(usage: Sequence[Place], number: int) -> Sequence[Place]:
    if number < len(usage):
        return usage[number : number + 1]
    return usage[-1:] if usage and usage[-1].repeats else ()
