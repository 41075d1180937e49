"""Which files of an experiment a clone gets: its code, and what belongs to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from torch_lab.experiment.origin import ORIGIN
from torch_lab.store.git import listed_files
from torch_lab.store.source import LARGEST_FILE, MANIFEST, is_litter
from torch_lab.tasks.clone.source import Source
from torch_lab.utils.text import format_size


@dataclass
class Files:
    """The paths in the experiment of what is copied; those of what is not, with the reason."""

    copied: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def files_of(source: Source) -> Files:
    """What git tracks of the experiment, and what it neither tracks nor ignores but for litter.

    Where git can't be asked, or ignores all of its code: everything but what is hidden or litter.
    """
    tracked = listed_files(source.files, untracked=False) if source.run is None else None
    listed = listed_files(source.files) if tracked is not None else None
    if tracked is None or listed is None or not any(each.endswith(".py") for each in listed):
        return _sorted_out(source, list(_walk(source.files)), frozenset())
    found = _sorted_out(source, listed, frozenset(tracked))
    known = {*found.copied, *found.left_out}
    ignored = [each for each in _walk(source.files) if each not in known]
    found.left_out |= dict.fromkeys((each for each in ignored if _is_kept(each)), "git ignores it")
    return found


def _sorted_out(source: Source, names: list[str], tracked: frozenset[str]) -> Files:
    found = Files()
    for name in sorted(names):
        path = source.files / name
        if not (os.path.lexists(path) and _is_kept(name)):
            continue  # deleted, though git still lists it, or a cache
        reason = _refusal(path, name, tracked=name in tracked)
        if reason is None:
            found.copied.append(name)
        else:
            found.left_out[name] = reason
    return found


def _is_kept(name: str) -> bool:
    parts = PurePosixPath(name).parts
    caches = {"__pycache__", ".git", ".DS_Store", ".ipynb_checkpoints"}
    return caches.isdisjoint(parts) and not name.endswith((".pyc", ".pyo")) and name not in _OURS


_OURS = frozenset({ORIGIN, MANIFEST})


def _refusal(path: Path, name: str, *, tracked: bool) -> str | None:
    if path.is_symlink():
        return None
    if path.is_dir():
        return "a repository of its own"
    if not path.is_file():
        return "not a plain file"
    if tracked:
        return None
    if any(is_litter(part) for part in PurePosixPath(name).parts):
        return "an output"
    size = path.lstat().st_size
    return f"{format_size(size)}, and git doesn't track it" if size > LARGEST_FILE else None


def _walk(folder: Path) -> Iterator[str]:
    """Every file and link but what is hidden; links to folders aren't followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in [*files, *links]:
            if not name.startswith("."):
                yield (Path(place) / name).relative_to(folder).as_posix()
