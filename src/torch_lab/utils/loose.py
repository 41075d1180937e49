"""Names for scripts that have no dotted name of their own.

A folder in no package, or one with a dot in its name, can't be imported by the usual rules, and a
module without an importable name breaks pickling and every spawned process. Such a script is
imported as

    torch_lab.utils.loose.<import root, encoded>.<folder>.<folder>.<script>

which any process that can import torch_lab resolves: importing this module, as every import of a
name below it does, installs the finder. Packages that do have a name of their own keep it: below
this prefix they are the very same modules, so that `from ...models import Net` gives one Net.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from torch_lab.utils.paths import marked_root
from torch_lab.utils.roots import append_root, make_importable

__path__: list[str] = []  # makes this module a package; its modules come from the finder alone

_PREFIX = f"{__name__}."


def loose_name(root: Path, parts: Sequence[str]) -> str:
    """The importable name of the folders and script stem `parts` below `root`."""
    code = base64.b32encode(os.fsencode(root)).decode().rstrip("=").lower()
    return ".".join([f"{_PREFIX}p{code}", *map(_escape, parts)])


class LooseFinder(importlib.abc.MetaPathFinder):
    """Finds the modules named by `loose_name`, and what lies beside them."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module below this one; other names are for other finders."""
        if not fullname.startswith(_PREFIX):
            return None
        code, *parts = fullname[len(_PREFIX) :].split(".")
        root = _decode(code)
        if root is None or not root.is_dir():
            return None
        if not parts:
            return _folder_spec(fullname, root)
        packaged = (root / _unescape(parts[0]) / "__init__.py").is_file()
        if packaged or marked_root(root) == root:
            append_root(root)  # the project's packages have to be found by their own names too
        if packaged and not any("%" in part for part in parts):
            return _alias_spec(fullname, root, parts)
        return _spec_below(fullname, root.joinpath(*map(_unescape, parts)), parts[-1])


class _Alias(importlib.abc.Loader):
    """Loads a module by giving the one that its own name leads to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just put the alias' spec there; reload and pickle need its own.
        module.__spec__ = self._spec


def _alias_spec(fullname: str, root: Path, parts: Sequence[str]) -> ModuleSpec | None:
    make_importable(root, parts[0])
    name = ".".join(parts)
    if importlib.util.find_spec(name) is None:
        return None
    return ModuleSpec(fullname, _Alias(name))


def _spec_below(fullname: str, target: Path, last: str) -> ModuleSpec | None:
    if "%" not in last:
        return PathFinder.find_spec(fullname, [str(target.parent)])
    initial = target / "__init__.py"
    if initial.is_file():
        return importlib.util.spec_from_file_location(
            fullname, initial, submodule_search_locations=[str(target)]
        )
    if target.is_dir():
        return _folder_spec(fullname, target)
    script = target.with_name(f"{target.name}.py")
    return importlib.util.spec_from_file_location(fullname, script) if script.is_file() else None


def _folder_spec(fullname: str, folder: Path) -> ModuleSpec:
    spec = ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def _escape(part: str) -> str:
    return part.replace("%", "%25").replace(".", "%2E")


def _unescape(part: str) -> str:
    return part.replace("%2E", ".").replace("%25", "%")


def _decode(code: str) -> Path | None:
    if not code.startswith("p"):
        return None
    text = code[1:].upper()
    try:
        return Path(os.fsdecode(base64.b32decode(text + "=" * (-len(text) % 8))))
    except binascii.Error:
        return None


if not any(type(finder).__qualname__ == LooseFinder.__qualname__ for finder in sys.meta_path):
    # Before the path finder, which would load a second copy of a package that has its own name.
    sys.meta_path.insert(0, LooseFinder())
