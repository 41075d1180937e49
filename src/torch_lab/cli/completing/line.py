"""A bash command line up to the cursor, and the words that go back to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torch_lab.tasks.completion.candidates import Candidate

_ENDS_COMMAND = frozenset(";|&(\n")
_SPECIAL = frozenset(" \t\n\"'\\$`&|;<>()*?[]{}!#~")


@dataclass
class Line:
    """The words as a program would get them; the last one is under the cursor.

    `kept` letters of it stand before what bash replaces: it takes `=` and `:` for ends of words.
    """

    words: list[str] = field(default_factory=list)
    kept: int = 0
    quote: str = ""

    def replies(self, candidates: Iterable[Candidate]) -> Iterator[str]:
        """What bash is to put in place of the word, quoted where that is needed."""
        for each in candidates:
            rest = each.text[self.kept :]
            if self.quote:  # bash closes it by itself
                yield rest
            else:
                yield _escaped(rest, home=self.kept == 0) + ("" if each.more else " ")


def read(text: str, breaks: str) -> Line:
    """The last command in a line, whatever quotes are still open."""
    line, word = Line(), _Word()
    letters = iter(text)
    for letter in letters:
        if line.quote:
            _inside(line, word, letter, letters)
        elif letter in " \t":
            word.end(line)
        elif letter in _ENDS_COMMAND:
            line, word = Line(), _Word()
        elif letter == "\\":
            word.add(next(letters, ""))
        elif letter in "\"'":
            line.quote = letter
            word.begin(kept=True)
        else:
            word.add(letter)
            word.begin(kept=letter in breaks)
    line.words.append(word.text)
    line.kept = word.kept
    return line


@dataclass
class _Word:
    text: str = ""
    kept: int = 0
    begun: bool = False

    def add(self, letter: str) -> None:
        self.text += letter
        self.begun = True

    def begin(self, *, kept: bool) -> None:
        self.begun = True
        if kept:
            self.kept = len(self.text)

    def end(self, line: Line) -> None:
        if self.begun:
            line.words.append(self.text)
        self.text, self.kept, self.begun = "", 0, False


def _inside(line: Line, word: _Word, letter: str, letters: Iterator[str]) -> None:
    """One letter within quotes."""
    if letter == line.quote:
        line.quote = ""
        word.begin(kept=True)
    elif letter == "\\" and line.quote == '"':
        following = next(letters, "")
        word.add(following if following in '"\\$`' else f"\\{following}")
    else:
        word.add(letter)


def _escaped(text: str, *, home: bool) -> str:
    head = "~" if home and text.startswith("~/") else ""
    rest = text[len(head) :]
    return head + "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in rest)
