"""Options on a command line.

A parser of our own: argparse gives `-g 0 script.py` the script as a second GPU, and splits what
`infer` has to pass on untouched (`-results`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch_lab.errors import UsageError

_NUMBERS = re.compile(r"-?\d[\d,]*")


@dataclass(frozen=True)
class Option:
    """One option of a command; without a metavar it is a flag."""

    name: str
    metavar: str = ""
    help: str = ""
    short: str = ""
    alias: str = ""
    repeats: bool = False
    takes_numbers: bool = False  # `-g 0 1`: numbers that follow belong to it as well

    @property
    def usage(self) -> str:
        """How it is written."""
        short = f"{self.short}, " if self.short else "    "
        return f"{short}{self.name} {self.metavar}".rstrip()


DEBUG = Option(
    "--debug",
    help="open Python's debugger where an exception is raised (--pdb will do)",
    alias="--pdb",
)
HELP = Option("--help", help="show this and exit", short="-h")
VERSION = Option("--version", help="show the version and exit")


@dataclass
class Parsed:
    """The words of a command line, sorted."""

    words: list[str] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return name in self.values

    def one(self, name: str) -> str | None:
        """The value of an option that is given once at most."""
        values = self.values.get(name)
        return values[0] if values else None

    def all(self, name: str) -> tuple[str, ...]:
        """All values of an option."""
        return tuple(self.values.get(name, ()))

    def add(self, option: Option, value: str) -> None:
        """Note an option's value."""
        if option.name in self.values and option.metavar and not option.repeats:
            raise UsageError(f"{option.name} is given twice")
        self.values.setdefault(option.name, []).append(value)


class Reader:
    """Goes through the words of a command line for one set of options."""

    def __init__(self, argv: Sequence[str], options: Sequence[Option]) -> None:
        self._rest = list(argv)
        self._by_name = {option.name: option for option in options}
        self._by_name.update({option.short: option for option in options if option.short})
        self._by_name.update({option.alias: option for option in options if option.alias})
        self.parsed = Parsed()

    def read(self, unknown: Callable[[str], None]) -> Parsed:
        """Sort all words; `unknown` gets those that look like options and are none of these."""
        while self._rest:
            word = self._rest.pop(0)
            if word == "--":
                self.parsed.words += self._rest
                break
            if not self._take_option(word):
                (unknown if _looks_like_option(word) else self.parsed.words.append)(word)
        return self.parsed

    def refuse(self, word: str) -> None:
        """Say that there is no such option, and which one may be meant."""
        from torch_lab.utils.text import nearest

        name = word.partition("=")[0]
        bare = name.lstrip("-")
        known = {each[2:]: each for each in self._by_name if each.startswith("--")}
        match = nearest(bare, known)
        if match is not None:
            hint = f'did you mean "{known[match]}"?'
        elif "set" in known and word.startswith("--"):
            hint = f"a hyperparameter is changed with `--set {bare}=VALUE`"
        else:
            hint = f"there are {', '.join(known.values())}"
        raise UsageError(f"unknown option {name}", hint=hint)

    def _take_option(self, word: str) -> bool:
        name, equals, value = word.partition("=")
        option = self._by_name.get(name)
        if option is None:
            return self._take_joined(word)
        if not option.metavar:
            if equals:
                raise UsageError(f"{name} takes no value, got {value!r}")
            self.parsed.add(option, "")
        elif equals:
            self.parsed.add(option, value)
        else:
            self.parsed.add(option, self._value(option))
        return True

    def _take_joined(self, word: str) -> bool:
        """`-d5`, `-g0,1`: a short option and its value in one word."""
        option = self._by_name.get(word[:2])
        if word.startswith("--") or option is None or not option.metavar:
            return False
        self.parsed.add(option, word[2:])
        return True

    def _value(self, option: Option) -> str:
        if not self._rest or self._is_option(self._rest[0]):
            written = f"write `{option.name} {option.metavar}`"
            raise UsageError(f"{option.name} needs a value", hint=written)
        value = self._rest.pop(0)
        while option.takes_numbers and self._rest and _NUMBERS.fullmatch(self._rest[0]):
            value += f",{self._rest.pop(0)}"
        return value

    def _is_option(self, word: str) -> bool:
        return word.startswith("--") or word in self._by_name


def _looks_like_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def option_lines(options: Sequence[Option]) -> str:
    """The options as a help text lists them."""
    width = max(len(option.usage) for option in options) + 2
    gap = "\n" + " " * (width + 2)
    lines = [f"  {option.usage:<{width}}{option.help.replace(chr(10), gap)}" for option in options]
    return "\n".join(lines)


def answered(parsed: Parsed, help_text: str) -> bool:
    """Print what --help or --version asks for; whether one of them was given."""
    if parsed.has("--help"):
        print(help_text, end="")
    elif parsed.has("--version"):
        print(version())
    else:
        return False
    return True


def version() -> str:
    """The line that `--version` prints."""
    from torch_lab import __version__

    return f"torch-lab {__version__}"
