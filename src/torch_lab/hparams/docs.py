"""What the source says beside the fields of a class.

    lr: float = 1e-2  # the step size

A comment on the field's line, `#:` comments above it, or a string below it.
"""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator

from torch_lab.hparams.annotations import alternatives, expected, is_enum
from torch_lab.hparams.structures import Member


def doc(member: Member) -> str:
    """A field's description, in a line: what it was given, else what its source says.

    A field without one whose values have names gets these.
    """
    text = member.doc or field_docs(member.owner).get(member.name, "")
    enums = any(map(is_enum, alternatives(member.annotation)))
    return " ".join(text.split()) or (expected(member.annotation) if enums else "")


def field_docs(kind: type) -> dict[str, str]:
    """The descriptions in the source of a class, by field."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
        (definition,) = ast.parse(source).body
    except (OSError, TypeError, ValueError, SyntaxError):  # made by a call, or typed in
        return {}
    if not isinstance(definition, ast.ClassDef):
        return {}
    comments = dict(_comments(source))
    found = {}
    for i, statement in enumerate(definition.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            below = _text(definition.body[i + 1]) if i + 1 < len(definition.body) else ""
            found[statement.target.id] = below or _beside(statement, comments)
    return found


def _text(statement: ast.stmt) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return ""


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _beside(statement: ast.stmt, comments: dict[int, str]) -> str:
    last = statement.end_lineno or statement.lineno
    on_line = [comments[line] for line in range(statement.lineno, last + 1) if line in comments]
    above: list[str] = []
    line = statement.lineno - 1
    while comments.get(line, "").startswith("#:"):
        above.insert(0, comments[line])
        line -= 1
    return " ".join(text.lstrip("#:").strip() for text in on_line or above)
