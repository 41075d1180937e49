"""Objects of `lightning.pytorch`: near twins of pytorch_lightning's that its Trainer refuses."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch_lab.experiment.finding import Experiment
from torch_lab.utils.paths import display

_TWIN = "lightning.pytorch"


def foreign_problems(experiment: Experiment, result: dict[Any, Any]) -> list[str]:
    """One problem that names the imports to change, if a returned object is from the twin."""
    culprits = [key for key, value in _objects(result) if _is_foreign(value)]
    if not culprits:
        return []
    files = [file for _, value in _objects(result) for file in _sources(value)]
    lines = [
        line
        for file in dict.fromkeys([*files, experiment.configuration])
        for line in _imports(file)
    ]
    changes = lines or ["import lightning.pytorch as pl -> import pytorch_lightning as pl"]
    problem = f"{', '.join(culprits)}: made with {_TWIN}; torch-lab uses pytorch_lightning. Change"
    return ["\n    ".join([problem, *changes])]


def _objects(result: dict[Any, Any]) -> Iterator[tuple[str, object]]:
    for key in ("module", "datamodule"):
        yield key, getattr(result.get(key), "_orig_mod", result.get(key))
    callbacks = result.get("callbacks")
    for index, callback in enumerate(callbacks if isinstance(callbacks, (list, tuple)) else ()):
        yield f"callbacks[{index}]", callback


def _is_foreign(value: object) -> bool:
    return any(_is_twin(base.__module__) for base in type(value).__mro__)


def _is_twin(module: str) -> bool:
    return module == _TWIN or module.startswith(f"{_TWIN}.")


def _sources(value: object) -> Iterator[Path]:
    """The files of the user's classes that lead to the twin's."""
    for base in type(value).__mro__:
        if _is_foreign(value) and not _is_twin(base.__module__):
            file = getattr(sys.modules.get(base.__module__), "__file__", None)
            if file is not None and "site-packages" not in file:
                yield Path(file)


def _imports(file: Path) -> Iterator[str]:
    """The lines of a file that import the twin, each with what to write in its place."""
    try:
        source = file.read_text(encoding="utf-8")
        nodes = list(ast.walk(ast.parse(source)))
    except (OSError, ValueError, SyntaxError):  # gone or changed since it was imported
        return
    for node in nodes:
        replacement = _replacement(node)
        if replacement is not None:
            line = ast.unparse(node)
            yield f"{display(file)}:{getattr(node, 'lineno', 1)}: {line} -> {replacement}"


def _replacement(node: ast.AST) -> str | None:
    match node:
        case ast.Import(names=names) if any(_is_twin(name.name) for name in names):
            return ast.unparse(node).replace(_TWIN, "pytorch_lightning")
        case ast.Import(names=[ast.alias(name="lightning", asname=alias)]):
            return f"import pytorch_lightning as {alias or 'lightning'}"
        case ast.ImportFrom(module=str(module)) if _is_twin(module):
            return ast.unparse(node).replace(_TWIN, "pytorch_lightning")
        case ast.ImportFrom(module="lightning", names=[ast.alias(name="pytorch", asname=alias)]):
            return f"import pytorch_lightning as {alias or 'pytorch'}"
        case ast.ImportFrom(module="lightning", level=0):
            return ast.unparse(node).replace("from lightning", "from pytorch_lightning")
    return None
