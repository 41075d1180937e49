"""The words of a command that takes runs: names, patterns of names, filters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from torch_lab.errors import RunNotFound
from torch_lab.store.find import StoredRun

_SIGNS = frozenset("=<>!~")
_WILD = frozenset("*?[")


def is_filter(word: str, cwd: Path | None = None) -> bool:
    """Whether a word is a filter, and not the path of a file with such a name."""
    return _has(word, _SIGNS, cwd)


def is_pattern(word: str, cwd: Path | None = None) -> bool:
    """Whether a word is a pattern of names, and not the path of a file with such a name."""
    return _has(word, _WILD, cwd)


def like(pattern: str, known: Sequence[StoredRun], artifacts: Path) -> list[StoredRun]:
    """The runs whose names a pattern describes; RunNotFound where there is none."""
    found = [run for run in known if fnmatchcase(run.folder, pattern)]
    if not found:
        raise none_found(f"no run's name is like {pattern!r}", known, artifacts)
    return found


def none_found(message: str, known: Sequence[StoredRun], artifacts: Path) -> RunNotFound:
    """What is said where no run is meant, or where there are no runs at all."""
    if known:
        return RunNotFound(message, hint="`lab runs` lists them, with the same filters")
    return RunNotFound(f"no runs yet in {artifacts}", hint="`train HPARAMS` makes the first")


def offer_all(error: RunNotFound, word: str, command: str) -> None:
    """Where a word names several runs: how to take them all."""
    if not error.unknown and "/" not in word:
        error.hint = f"{error.hint} `{command}` takes them all."


def _has(word: str, signs: frozenset[str], cwd: Path | None) -> bool:
    # Path.exists can raise.
    return bool(signs & set(word)) and not os.path.exists(os.path.join(cwd or "", word))  # noqa: PTH110, PTH118
