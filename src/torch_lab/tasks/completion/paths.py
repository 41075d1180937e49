"""Scripts, experiments and files below a place, spelled as the word that was begun."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from torch_lab.experiment import listing
from torch_lab.experiment.finding import CONFIGURATION
from torch_lab.tasks.completion.candidates import Candidate, first_of, fitting
from torch_lab.utils.paths import marked_root

_MANY = 40  # more scripts are offered folder by folder
_DOCSTRING = re.compile(r'\A(?:#.*\n|\s)*"""\s*([^\n]*?)\s*(?:"""|\n)')


def scripts(word: str) -> list[Candidate]:
    """Hyperparameter scripts, those in folders below too; where there are none, Python files."""
    found = fitting(word, _scripts(word))
    if len(found) > _MANY:
        found = _by_folder(found)
    return first_of(found, files(word, lambda name: name.endswith(".py")))


def experiments(word: str) -> list[Candidate]:
    """Names of the project's experiments; their folders where the word has a slash."""
    root = marked_root(Path())
    known = listing.experiments(root) if root is not None else []
    names = (Candidate(folder.name) for folder in known)
    folders = (Candidate(text, more=True) for text, _ in _experiments(word))
    return first_of(fitting(word, names), fitting(word, folders), scripts(word))


def folders(word: str) -> list[Candidate]:
    """Folders."""
    return files(word, lambda _: False)


def files(word: str, wanted: Callable[[str], bool] = lambda _: True) -> list[Candidate]:
    """Files and folders, hidden ones only where the word begins with a dot."""
    typed, place, begun = _split(word)
    found = []
    for name, is_folder in _entries(place):
        if name.startswith(begun) and (begun or not name.startswith(".")):
            if is_folder:
                found.append(Candidate(f"{typed}{name}/", more=True))
            elif wanted(name):
                found.append(Candidate(f"{typed}{name}"))
    return found


def _scripts(word: str) -> Iterator[Candidate]:
    for text, folder in _experiments(word):
        for name in listing.scripts(folder):
            yield Candidate(f"{text}{name}.py", _about(folder / f"{name}.py"))


def _experiments(word: str) -> Iterator[tuple[str, Path]]:
    """The folders of experiments at and below the one that the word names, as they'd be typed."""
    typed, place, _ = _split(word)
    if (place / CONFIGURATION).is_file():
        yield typed, place
    if marked_root(place) is None:  # a home folder, say, which could be endless
        return
    for folder in listing.experiments(place):
        yield f"{typed}{folder.relative_to(place).as_posix()}/", folder


def _by_folder(found: list[Candidate]) -> list[Candidate]:
    """One candidate for all that lies in the same folder, below what they have in common."""
    parts = [each.text.split("/") for each in found]
    folders = list(zip(*(each[:-1] for each in parts), strict=False))
    depth = next((n for n, names in enumerate(folders) if len(set(names)) > 1), len(folders))
    groups = {"/".join(each[: depth + 1]) + "/" * (len(each) > depth + 1) for each in parts}
    return [Candidate(text, more=text.endswith("/")) for text in sorted(groups)]


def _split(word: str) -> tuple[str, Path, str]:
    """The folder of a word as it was typed, as a path, and what was begun in it."""
    typed, slash, begun = word.rpartition("/")
    typed += slash
    return typed, Path(typed or ".").expanduser(), begun


def _entries(folder: Path) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:  # no such folder, or closed to us
        return []


def _about(script: Path) -> str:
    """The first line of a script's docstring."""
    try:
        found = _DOCSTRING.match(script.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""
