"""Names that an experiment's code spells out, whether or not a trial comes to that line."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch_lab.experiment import Experiment
from torch_lab.utils.tracebacks import is_user_file

_OPAQUE = ("asdict", "astuple", "vars", "fields", "model_dump", "dict")


class Mentions:
    """What the configuration script and the modules behind it say.

    `texts` are those that may be keys to read: not the keys that a dict is written with.
    `attributes` are what stands behind a dot, `parameters` the names that functions take.
    `opaque` says that something lists an object's fields without naming them, `as_dict` that
    something is made a dict, which lists a pydantic model's. `used` are the attributes that are
    looked at, not only set.
    """

    def __init__(self, files: Iterator[Path]) -> None:
        self.texts: set[str] = set()
        self.attributes: set[str] = set()
        self.parameters: set[str] = set()
        self.used: set[str] = set()
        self.opaque = False
        self.as_dict = False
        for file in files:
            for node in _nodes(file):
                self._note(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Constant(value=str(text)):
                self.texts.update(_words(text))
            case ast.Attribute(attr=name, ctx=context):
                self.attributes.add(name)
                self.used.update([name] if isinstance(context, ast.Load) else [])
                self.opaque |= name in ("__dict__", *_OPAQUE[:-1])
            case ast.arg(arg=name):
                self.parameters.add(name)
            case ast.Call(func=ast.Name(id=name)) if name in _OPAQUE[:-1]:
                self.opaque = True
            case ast.Call(func=ast.Name(id="dict"), args=[_, *_]):
                self.as_dict = True
            case ast.MatchClass(kwd_attrs=names):
                self.attributes.update(names)

    def somewhere(self, name: str) -> bool:
        """Whether any line may read it, by whatever way."""
        return name in self.texts or name in self.attributes or name in self.parameters


def _words(text: str) -> list[str]:
    """A text, and the parts of one with dots."""
    return [text, *text.split(".")] if len(text) < 80 else []


def _nodes(file: Path) -> Iterator[ast.AST]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError):  # gone or changed since it was imported
        return
    keys = {
        id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys if key
    }
    yield from (node for node in ast.walk(tree) if id(node) not in keys)


def of(experiment: Experiment) -> Mentions:
    """Those of an experiment: its configuration script, and what that takes from other files."""
    return Mentions(iter(_files(experiment)))


def _files(experiment: Experiment) -> list[Path]:
    begin = next((each for each in list(sys.modules.values()) if _is(each, experiment)), None)
    if begin is None:
        return [experiment.configuration]
    found: dict[str, Path] = {}
    waiting: list[ModuleType] = [begin, *_of_project(experiment.root)]
    while waiting:
        module = waiting.pop()
        file = getattr(module, "__file__", None)
        if file is None or not is_user_file(file) or module.__name__ in found:
            continue
        found[module.__name__] = Path(file)
        waiting += _behind(module)
    return list(dict.fromkeys((*found.values(), *_later(found, experiment.root))))


def _of_project(root: Path) -> Iterator[ModuleType]:
    """The project's modules that were imported, by whatever way, but for hparams scripts."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        values = isinstance(getattr(module, "hparams", None), dict)
        if isinstance(file, str) and Path(file).is_relative_to(root) and not values:
            yield module


def _later(found: Mapping[str, Path], root: Path) -> Iterator[Path]:
    """The files of the project that functions would import when they are called."""
    for name, file in found.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for node in _nodes(file):
            for imported in _imports(node, package):
                path = root.joinpath(*imported.split("."))
                ends = (path.with_suffix(".py"), path / "__init__.py")
                yield from (each for each in ends if each.is_file())


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """The modules that a statement imports, or may."""
    match node:
        case ast.Import(names=names):
            yield from (each.name for each in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            base = ".".join([*above, *([module] if module else [])])
            yield base
            yield from (f"{base}.{each.name}" for each in names)


def _is(module: Any, experiment: Experiment) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file) == experiment.configuration


def _behind(module: ModuleType) -> Iterator[ModuleType]:
    """The modules that what a module holds comes from."""
    for value in list(vars(module).values()):
        name = getattr(value, "__module__", None)
        if isinstance(value, ModuleType):
            yield value
        elif isinstance(name, str) and name in sys.modules:
            yield sys.modules[name]
