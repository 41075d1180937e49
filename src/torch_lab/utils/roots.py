"""How a project becomes importable, and what keeps its files from standing in for Python's.

The one change to sys.path is a project's import root at its end: at the end, so that no file of
a project ever hides a module of Python or of an installed package. A project that an installed
copy would hide is refused instead. Only the code that a queued run brought along goes before it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

from torch_lab.errors import ScriptError


def make_importable(root: Path, package: str) -> None:
    """Let `package`, a folder of `root`, be imported in this process and those it spawns."""
    append_root(root)
    expected = root / package / "__init__.py"
    found = _origin(package)
    if found is None or not same_file(found, expected):
        raise ScriptError(
            f"the name {package} leads to {found or 'no file'}, not to {expected.parent}",
            hint="another copy hides the project: uninstall that copy, install this one with "
            f"`pip install -e {root}`, or rename the folder",
        )


def prefer_root(root: Path) -> None:
    """Put a folder right behind Python's own modules, before the packages of its environment."""
    if str(root) in sys.path:
        sys.path.remove(str(root))
    own = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    behind = [n for n, place in enumerate(sys.path, 1) if place.removesuffix("/lib-dynload") in own]
    sys.path.insert(max(behind, default=len(sys.path)), str(root))


def append_root(root: Path) -> None:
    """Append a folder to sys.path, once."""
    if str(root) not in sys.path:
        sys.path.append(str(root))


def shield_children() -> None:
    """Keep the working directory's files from hiding Python's in the processes started from here.

    A spawned process looks into the working directory first, and would take a `copy.py` there for
    Python's own before it is told where to look. Nothing changes where there is no such file.
    """
    try:
        names = {entry.name.removesuffix(".py") for entry in os.scandir() if _is_module(entry)}
    except OSError:  # the working directory is gone or closed to us: nothing is found there
        return
    if not names.isdisjoint(sys.stdlib_module_names):
        os.environ["PYTHONSAFEPATH"] = "1"


def _is_module(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".py") or (Path(entry) / "__init__.py").is_file()


def same_file(first: str | Path, second: str | Path) -> bool:
    """Whether two names lead to one file; a file that is gone is equal to none."""
    try:
        return Path(first).samefile(second)
    except OSError:
        return False


def _origin(package: str) -> str | None:
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module without a spec holds the name, like a pytest conftest
        return getattr(sys.modules[package], "__file__", None)
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)
