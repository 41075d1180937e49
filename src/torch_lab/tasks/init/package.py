"""The name of a new project's package."""

from __future__ import annotations

import importlib.util
import keyword
import sys
import tomllib
from pathlib import Path

from torch_lab.errors import UsageError
from torch_lab.utils.names import as_name

# Folders of the project, and what belongs to no one.
_FOLDERS = frozenset({"data", "tests", "docs", "build", "dist", "src", "experiments"})


def package_name(root: Path, given: str | None) -> tuple[str, str | None]:
    """The package's name, and what it was made of if that is worth a remark."""
    if given is not None:
        _require_usable(given, root)
        return given, None
    source = _distribution(root) or root.name
    name = as_name(source) or "my_project"
    if name[0].isdigit():
        name = f"project_{name}"
    if _taken(name, root):
        name = f"{name}_project"
    return name, source if name != source else None


def _distribution(root: Path) -> str | None:
    """The project's name where there is a pyproject.toml already."""
    try:
        table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    project = table.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return name if isinstance(name, str) else None


def _require_usable(name: str, root: Path) -> None:
    if not (name.isidentifier() and name.isascii()):
        instead = as_name(name)
        valid = instead if instead.isidentifier() else f"project_{instead}"
        raise UsageError(
            f"--name {name!r} can't be imported: letters, digits and _ make a package's name",
            hint=f"for instance `--name {valid}`",
        )
    if (reason := _taken(name, root)) is not None:
        raise UsageError(f"--name {name} is taken: {reason}", hint=f"try `--name {name}_project`")


def _taken(name: str, root: Path) -> str | None:
    """What a package of this name would be mistaken for."""
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "it is a word of Python's"
    if name in sys.stdlib_module_names:
        return "it is a module of Python's"
    if name in _FOLDERS:
        return "a project has a folder of that name"
    origin = _installed(name)
    if origin is None or Path(origin).is_relative_to(root):
        return None
    return f"it leads to {origin}"


def _installed(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None else None
