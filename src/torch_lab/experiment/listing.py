"""The experiments of a project, found without importing any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch_lab.experiment.finding import CONFIGURATION

_NUMBERED = re.compile(r"(\d+)_.+", re.ASCII)
# Folders of a project's root that hold no code of its own.
_NO_CODE = frozenset({"data", "build", "dist", "env", "venv", "node_modules", "site-packages"})
_DEEPEST = 8
_OTHERS = frozenset({"pyproject.toml", ".git"})


def experiments(root: Path) -> list[Path]:
    """The experiments' directories below a project's root, by number, then by name.

    Hidden folders, environments and data are not looked into, nor projects within the project.
    """
    return sorted(_below(root, _DEEPEST), key=lambda path: (number_of(path.name) or 0, path.name))


def number_of(name: str) -> int | None:
    """The number that an experiment's name begins with."""
    found = _NUMBERED.fullmatch(name)
    return int(found[1]) if found else None


def scripts(directory: Path) -> list[str]:
    """The names of an experiment's scripts that may hold hyperparameters: `hparams` first."""
    names = [path.stem for path in directory.glob("*.py") if not path.name.startswith("_")]
    return sorted(
        (name for name in names if _defines_hparams(directory / f"{name}.py")),
        key=lambda name: (name != "hparams", name),
    )


def among(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Those that may hold hyperparameters, and an experiment's other files, as `00_digits/*.py`
    names them; all where none does, and what is not there at all."""
    others = [
        each
        for each in files
        if each.suffix == ".py"
        and (each.parent / CONFIGURATION).is_file()
        and each.is_file()
        and (each.name.startswith("_") or not _defines_hparams(each))
    ]
    return ([each for each in files if each not in others], others) if others else (list(files), [])


def _defines_hparams(script: Path) -> bool:
    try:
        text = script.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^hparams\b[^=\n]*=|\bimport\b.*\bhparams\b", text, re.MULTILINE) is not None


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for entry in _entries(folder):
        if not _may_hold_code(entry):
            continue
        path = folder / entry.name
        within = {each.name for each in _entries(path)}
        if CONFIGURATION in within and scripts(path):
            yield path
        if depth and _OTHERS.isdisjoint(within):
            yield from _below(path, depth - 1)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:  # closed to us, or gone
        return []


def _may_hold_code(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith((".", "__")) or entry.name in _NO_CODE:
        return False
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
