"""ClearML calls in an experiment's code that look for the task of the run."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from torch_lab.utils.paths import display
from torch_lab.utils.tracebacks import is_user_file

_ASKING = {"current_task", "current_logger"}
_SHOWN = 3


def remark(root: Path) -> str | None:
    """A line on calls in the modules of the project that are imported; None if there are none.

    Code that opens a task of its own knows what it does: nothing is said then.
    """
    calls = [call for file in _files(root) for call in _calls(file)]
    if not calls or any(what.endswith(".init()") for what, _ in calls):
        return None
    places = list(dict.fromkeys(f"{what} at {where}" for what, where in calls))
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return (
        f"no ClearML task is open in this process for {', '.join(places[:_SHOWN])}{more};"
        " torch_lab.record() takes scalars, images, figures, tables, texts and files,"
        ' and "task": {"sdk": True} in hparams has ClearML\'s SDK open the run\'s task'
    )


def _files(root: Path) -> list[Path]:
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    below = (each for each in files if isinstance(each, str) and each.startswith(f"{root}{os.sep}"))
    return sorted(Path(file) for file in below if file.endswith(".py") and is_user_file(file))


def _calls(file: Path) -> Iterator[tuple[str, str]]:
    """What is called, and the file and line."""
    try:
        text = file.read_text(encoding="utf-8")
        if "clearml" not in text and ".logger.task" not in text:
            return
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError):  # gone or changed since it was imported
        return
    known = set(_clearml_names(tree))
    for node in ast.walk(tree):
        what = _asked(node, known)
        if what is not None:
            yield what, f"{display(file)}:{getattr(node, 'lineno', 1)}"


def _clearml_names(tree: ast.Module) -> Iterator[str]:
    """The names by which a file knows ClearML, its Task and its Logger."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = (each for each in node.names if each.name.split(".")[0] == "clearml")
            yield from (each.asname or "clearml" for each in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "clearml":
            yield from (each.asname or each.name for each in node.names)


def _asked(node: ast.AST, known: set[str]) -> str | None:
    match node:
        case ast.Call(func=ast.Attribute(attr=name) as function):
            of_task = name in _ASKING or (name == "init" and "Task" in ast.unparse(function))
            first = ast.unparse(function).partition(".")[0]
            return f"{ast.unparse(function)}()" if of_task and first in known else None
        case ast.Attribute(attr="task", value=ast.Attribute(attr="logger")):
            return ast.unparse(node)
    return None
