"""The messages that torch-lab can say, read from its source, and the texts that tests pin."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch_lab import errors

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "torch_lab"
TESTS = ROOT / "tests"
KINDS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.TorchLabError)
}
_ENDS = " \t:;,.()'\"`"
SHORTEST = 12  # letters: shorter pieces are words that any text has


@dataclass(frozen=True)
class Piece:
    """A fixed part of a message, between two values that are put in."""

    file: str
    line: int
    text: str


def pieces() -> list[Piece]:
    """The fixed parts of every message of a TorchLabError."""
    return [
        Piece(str(file.relative_to(SOURCE)), node.lineno, text)
        for file in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and _name(node.func) in KINDS
        for text in _texts(node)
        if len(re.findall(r"[a-zA-Z]", text)) >= SHORTEST
    ]


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _texts(node: ast.AST) -> Iterator[str]:
    """String constants below a node, and the constant parts of f-strings, line by line."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield from (line.strip(_ENDS) for line in each.value.splitlines())


def pinned() -> str:
    """Every text that stands in a test, one after the other; patterns as what they match."""
    files = [file for file in TESTS.rglob("*.py") if file.name != "messages.py"]
    trees = (ast.parse(file.read_text()) for file in files)
    texts = [text for tree in trees for text in _texts(tree)]
    return "\n".join([*texts, *(text.replace("\\", "") for text in texts if "\\" in text)])
