"""Objects of `lightning.pytorch`: near twins of pytorch_lightning's that its Trainer refuses."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch_lab.utils.paths import display

_TWIN = "lightning.pytorch"
_ANY_FILE = ("import lightning.pytorch as pl -> import pytorch_lightning as pl",)


def is_twin(value: object) -> bool:
    """Whether a value is an instance of one of the twin's classes, or such a class."""
    kind = value if isinstance(value, type) else type(value)
    return any(_belongs(base.__module__) for base in kind.__mro__)


def problem(where: str, values: Iterable[object], scripts: Iterable[Path]) -> str:
    """What is wrong with twins, and each import to change in the scripts they come from."""
    files = [*(file for value in values for file in _sources(value)), *scripts]
    changes = [line for file in dict.fromkeys(files) for line in _imports(file)] or _ANY_FILE
    said = f"{where}: made with {_TWIN}; torch-lab uses pytorch_lightning. Change"
    return "\n    ".join([said, *changes])


def changes(file: Path) -> list[str]:
    """The lines of a file that import the twin, each with what to write in its place."""
    return list(_imports(file)) or list(_ANY_FILE)


def _belongs(module: str) -> bool:
    return module == _TWIN or module.startswith(f"{_TWIN}.")


def _sources(value: object) -> Iterator[Path]:
    """The files of the user's classes that lead to the twin's."""
    for base in type(value).__mro__:
        if is_twin(value) and not _belongs(base.__module__):
            file = getattr(sys.modules.get(base.__module__), "__file__", None)
            if file is not None and "site-packages" not in file:
                yield Path(file)


def _imports(file: Path) -> Iterator[str]:
    """The lines of a file that import the twin, each with what to write in its place."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, ValueError, SyntaxError):  # gone or changed since it was imported
        return
    for node in nodes:
        replacement = _replacement(node)
        if replacement is not None:
            line = ast.unparse(node)
            yield f"{display(file)}:{getattr(node, 'lineno', 1)}: {line} -> {replacement}"


def _replacement(node: ast.AST) -> str | None:
    match node:
        case ast.Import(names=names) if any(_belongs(name.name) for name in names):
            return ast.unparse(node).replace(_TWIN, "pytorch_lightning")
        case ast.Import(names=[ast.alias(name="lightning", asname=alias)]):
            return f"import pytorch_lightning as {alias or 'lightning'}"
        case ast.ImportFrom(module=str(module)) if _belongs(module):
            return ast.unparse(node).replace(_TWIN, "pytorch_lightning")
        case ast.ImportFrom(module="lightning", names=[ast.alias(name="pytorch", asname=alias)]):
            return f"import pytorch_lightning as {alias or 'pytorch'}"
        case ast.ImportFrom(module="lightning", level=0):
            return ast.unparse(node).replace("from lightning", "from pytorch_lightning")
    return None
