"""Where a project begins, and how messages name a path."""

from __future__ import annotations

import os
from pathlib import Path

_MARKERS = ("pyproject.toml", ".git")


def absolute(path: Path | str | os.PathLike[str]) -> Path:
    """The path from the root of the file system, links kept: a linked folder belongs to where it
    is linked."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  resolve() follows links


def marked_root(path: Path) -> Path | None:
    """The nearest folder at or above `path` with a pyproject.toml or .git."""
    start = absolute(path)
    folder = start if start.is_dir() else start.parent
    for candidate in (folder, *folder.parents):
        if any((candidate / marker).exists() for marker in _MARKERS):
            return candidate
    return None


def project_root(path: Path) -> Path:
    """The project a script or folder belongs to.

    Without a pyproject.toml or .git above it: the parent of a script's folder; a folder itself.
    """
    start = absolute(path)
    unmarked = start if start.is_dir() else start.parent.parent
    return marked_root(start) or unmarked


def display(path: Path | str | os.PathLike[str]) -> str:
    """A path as the user would type it: relative to the working directory where it is below."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the working directory is gone
        return str(path)
