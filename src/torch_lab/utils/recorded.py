"""Names for code that was recorded with a run, so that it doesn't meet the project's present code.

What was `my_project.models` is imported as `torch_lab.utils.recorded.r<id>.my_project.models`, and
absolute imports within that code lead to its own modules: each is rewritten as it is compiled. So
are `import_module` and `__import__`, which may be given names from hyperparameters.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
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


def plain_name(module: str) -> str:
    """The name that a module of recorded code had when it was recorded."""
    return module.removeprefix(_PREFIX).partition(".")[2] if module.startswith(_PREFIX) else module


def own(name: str, run: str) -> Any:
    """The function of that name below, for the code of a run."""
    return partial(globals()[name], run)


def import_own(run: str, name: str, package: str | None = None) -> ModuleType:
    """`importlib.import_module` for the code of a run: its own modules come first."""
    return importlib.import_module(_own_name(run, name), package)


def import_own_top(
    run: str,
    name: str,
    globals: Any = None,  # noqa: A002  as Python's
    locals: Any = None,  # noqa: A002
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> Any:
    """`__import__` for the code of a run."""
    own = name if level else _own_name(run, name)
    found = __import__(own, globals, locals, fromlist, level)
    if own == name or fromlist:
        return found
    return sys.modules[_own_name(run, name.partition(".")[0])]


def _own_name(run: str, name: str) -> str:
    own = isinstance(name, str) and name.partition(".")[0] in _tops[run]
    return f"{_PREFIX}{run}.{name}" if own else name


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
        rewritten = _Rewriter(self._run).visit(tree)
        code: CodeType = compile(
            ast.fix_missing_locations(rewritten), path, "exec", dont_inherit=True
        )
        return code


_IMPORTER = "import_module"


class _Rewriter(ast.NodeTransformer):
    """Puts the prefix before absolute imports of the recorded code's own modules."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._prefix = f"{_PREFIX}{run}"
        self._stand_ins = {"importlib.import_module": "import_own", "__import__": "import_own_top"}

    def _is_own(self, name: str | None) -> bool:
        return name is not None and name.partition(".")[0] in _tops[self._run]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        """`from my_project.models import Net`, and what is called like Python's own importer."""
        if node.module == "importlib":
            names = [each.asname or each.name for each in node.names if each.name == _IMPORTER]
            self._stand_ins |= dict.fromkeys(names, "import_own")
        if node.level == 0 and self._is_own(node.module):
            node.module = f"{self._prefix}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> Any:
        """`import my_project.models`, which binds `my_project`, and `… as models`."""
        statements: list[ast.stmt] = []
        for alias in node.names:
            if alias.name == "importlib" and alias.asname:
                self._stand_ins[f"{alias.asname}.{_IMPORTER}"] = "import_own"
            if not self._is_own(alias.name):
                statements.append(ast.Import([alias]))
                continue
            name, top = f"{self._prefix}.{alias.name}", alias.name.partition(".")[0]
            statements.append(ast.Import([ast.alias(name, alias.asname or "_recorded")]))
            if alias.asname is None:
                statements.append(ast.ImportFrom(self._prefix, [ast.alias(top)], 0))
        return [ast.copy_location(statement, node) for statement in statements]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """`import_module` and `__import__`, called or handed on."""
        return self._stand_in(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """`importlib.import_module`."""
        self.generic_visit(node)
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        return self._stand_in(node, f"{owner}.{node.attr}")

    def _stand_in(self, node: ast.Name | ast.Attribute, name: str) -> ast.expr:
        own = self._stand_ins.get(name)
        if own is None or not isinstance(node.ctx, ast.Load):
            return node
        text = f"__import__({__name__!r}, fromlist=['_']).own({own!r}, {self._run!r})"
        expression = ast.parse(text, mode="eval").body
        for each in ast.walk(expression):
            ast.copy_location(each, node)
        return expression


if not any(type(finder).__qualname__ == RecordedFinder.__qualname__ for finder in sys.meta_path):
    sys.meta_path.insert(0, RecordedFinder())
