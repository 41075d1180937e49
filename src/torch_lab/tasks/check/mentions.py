"""Names that an experiment's code spells out, whether or not a trial comes to that line."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
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
    `opaque` says that something lists an object's fields without naming them.
    """

    def __init__(self, files: Iterator[Path]) -> None:
        self.texts: set[str] = set()
        self.attributes: set[str] = set()
        self.parameters: set[str] = set()
        self.opaque = False
        for file in files:
            for node in _nodes(file):
                self._note(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Constant(value=str(text)):
                self.texts.update(_words(text))
            case ast.Attribute(attr=name):
                self.attributes.add(name)
                self.opaque |= name in ("__dict__", *_OPAQUE[:-1])
            case ast.arg(arg=name):
                self.parameters.add(name)
            case ast.Call(func=ast.Name(id=name)) if name in _OPAQUE[:-1]:
                self.opaque = True

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
    waiting = [begin]
    while waiting:
        module = waiting.pop()
        file = getattr(module, "__file__", None)
        if file is None or not is_user_file(file) or module.__name__ in found:
            continue
        found[module.__name__] = Path(file)
        waiting += _behind(module)
    return list(found.values())


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
