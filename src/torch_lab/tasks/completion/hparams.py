"""The keys of a script's hyperparameters, read from its text: nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch_lab.tasks.completion.candidates import Candidate, fitting

_DEEPEST = 8  # layers of scripts
_CONFIG = "config."


def assignments(word: str, scripts: list[str]) -> list[Candidate]:
    """`KEY=` for each key of the scripts on the command line, `config.` left out unless typed."""
    found = {key: value for name in scripts for key, value in _keys(Path(name).expanduser())}
    if word.startswith(_CONFIG):
        named = found
    else:
        named = {key.removeprefix(_CONFIG): value for key, value in found.items()}
    return fitting(word, (Candidate(f"{key}=", about, more=True) for key, about in named.items()))


def _keys(script: Path, depth: int = _DEEPEST) -> Iterator[tuple[str, str]]:
    """Dotted keys, and the values they have, as the script's text says."""
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return
    for node in ast.walk(tree):
        value = _assigned(node)
        if isinstance(value, ast.Dict):
            yield from _of_dict(value)
        elif isinstance(value, ast.Call) and depth:
            yield from _of_layers(value, script, depth)


def _assigned(node: ast.AST) -> ast.expr | None:
    """What is assigned to `hparams`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    names = [each.id for each in targets if isinstance(each, ast.Name)]
    value: ast.expr | None = getattr(node, "value", None)
    return value if "hparams" in names else None


def _of_layers(call: ast.Call, script: Path, depth: int) -> Iterator[tuple[str, str]]:
    """`extend(BASE, {…})`: the keys of the base, then those that are changed."""
    for argument in call.args:
        text = _text(argument)
        if text is not None and text.endswith(".py"):
            yield from _keys(script.parent / text, depth - 1)
        elif isinstance(argument, ast.Dict):
            yield from _of_dict(argument)


def _of_dict(node: ast.Dict, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in zip(node.keys, node.values, strict=True):
        name = _text(key)
        if name is None:
            continue
        if isinstance(value, ast.Dict) and value.keys:
            yield from _of_dict(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ast.unparse(value)[:40]


def _text(node: Any) -> str | None:
    """A string that stands there as it is."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
