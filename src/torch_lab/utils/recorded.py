"""Names for code that was recorded with a run, so that it doesn't meet the project's present code.

What was `my_project.models` is imported as `torch_lab.utils.recorded.r<id>.my_project.models`, and
absolute imports within that code lead to its own modules: each is rewritten as it is compiled.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

__path__: list[str] = []  # makes this module a package; its modules come from the finder alone

_PREFIX = f"{__name__}."
_roots: dict[str, Path] = {}
_tops: dict[str, frozenset[str]] = {}


def register(root: Path, run_id: str) -> None:
    """Give what lies below `root`, an import root as it was, names of its own."""
    name = f"r{run_id}"
    _roots[name] = root
    _tops[name] = frozenset(path.name.removesuffix(".py") for path in root.iterdir())


def recorded_name(script: Path) -> str | None:
    """The name of a script below a registered root; None for any other."""
    for name, root in _roots.items():
        if script.is_relative_to(root):
            parts = (*script.parent.relative_to(root).parts, script.stem)
            return ".".join([f"{_PREFIX}{name}", *(part.replace(".", "%2E") for part in parts)])
    return None


class RecordedFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of registered roots."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module below this one; other names are for other finders."""
        if not fullname.startswith(_PREFIX):
            return None
        run, *parts = fullname.removeprefix(_PREFIX).split(".")
        if run not in _roots:
            return None
        target_path = _roots[run].joinpath(*(part.replace("%2E", ".") for part in parts))
        if target_path.is_dir() and not (target_path / "__init__.py").is_file():
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(target_path)]
            return spec
        found = PathFinder.find_spec(fullname, [str(target_path.parent)])
        if found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = _Loader(fullname, found.loader.path, run)
        return found


class _Loader(SourceFileLoader):
    """Compiles a file so that its imports stay within the recorded code."""

    def __init__(self, fullname: str, path: str, run: str) -> None:
        super().__init__(fullname, path)
        self._run = run

    def get_code(self, fullname: str) -> CodeType:
        """The module's code, never from a cache."""
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        rewritten = _Rewriter(f"{_PREFIX}{self._run}", _tops[self._run]).visit(tree)
        code: CodeType = compile(
            ast.fix_missing_locations(rewritten), path, "exec", dont_inherit=True
        )
        return code


class _Rewriter(ast.NodeTransformer):
    """Puts the prefix before absolute imports of the recorded code's own modules."""

    def __init__(self, prefix: str, tops: frozenset[str]) -> None:
        self._prefix = prefix
        self._tops = tops

    def _is_own(self, name: str | None) -> bool:
        return name is not None and name.partition(".")[0] in self._tops

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        """`from my_project.models import Net`."""
        if node.level == 0 and self._is_own(node.module):
            node.module = f"{self._prefix}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> Any:
        """`import my_project.models`, which binds `my_project`, and `… as models`."""
        statements: list[ast.stmt] = []
        for alias in node.names:
            if not self._is_own(alias.name):
                statements.append(ast.Import([alias]))
                continue
            name, top = f"{self._prefix}.{alias.name}", alias.name.partition(".")[0]
            statements.append(ast.Import([ast.alias(name, alias.asname or "_recorded")]))
            if alias.asname is None:
                statements.append(ast.ImportFrom(self._prefix, [ast.alias(top)], 0))
        return [ast.copy_location(statement, node) for statement in statements]


if not any(type(finder).__qualname__ == RecordedFinder.__qualname__ for finder in sys.meta_path):
    sys.meta_path.insert(0, RecordedFinder())
