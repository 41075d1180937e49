"""Secrets in Python code: string literals given to secret names, replaced inside their quotes.

JSON is read as Python, too: its texts are the same, and `null` is but another name.
"""

from __future__ import annotations

import ast
import bisect
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeGuard

from torch_lab.store.secrets import (
    MASK,
    hidden,
    is_password,
    is_reference,
    is_secret,
    mask_forms,
)

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_OPENING = re.compile(r"[A-Za-z]*(?P<quote>'''|\"\"\"|'|\")")
_PLACEHOLDER = re.compile(r"(\{\{|\}\}|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})")
# `host=db password=hunter2`, as databases are told.
_SETTING = re.compile(
    r"(?P<given>(?:^|(?<=[\s;,'\"]))-{0,2}(?P<name>[\w.-]{1,100})=)(?P<value>[^\s;,&'\"<>{}$%()\\]+)"
)
_RANDOM = "a1b2c3d4e5f6"  # a value that any name may hide
# Calls that pair a name with a value, and calls that hand on what they are given.
_PAIRING = {"get", "getenv", "putenv", "pop", "setattr", "setdefault", "setenv"}
_WRAPPING = {"Field", "field", "Secret", "SecretBytes", "SecretStr", "bytes", "quote", "str"}

_Place = tuple[int, int]


@dataclass
class _Piece:
    """A string literal's token, or a comment."""

    start: int
    end: int
    text: str
    new: str

    @property
    def opening(self) -> int:
        """Where what it says begins."""
        opening = _OPENING.match(self.text)
        return opening.end() if opening else 0

    @property
    def closing(self) -> int:
        """Where what it says ends."""
        opening = _OPENING.match(self.text)
        return len(self.text) - len(opening["quote"]) if opening else len(self.text)

    @property
    def is_template(self) -> bool:
        """Whether there are expressions in it."""
        return bool(set(self.text[: self.opening].lower()) & {"f", "t"})

    def body(self, text: str) -> str:
        """What is between the quotes."""
        return text[self.opening : self.closing - len(self.text) + len(text)]

    def say(self, body: str) -> None:
        """Put something else between the quotes."""
        self.new = self.text[: self.opening] + body + self.text[self.closing :]

    def hide(self) -> None:
        """Mask what it says; the expressions of an f-string stay."""
        body = self.body(self.text)
        if not self.is_template:
            self.say(hidden(body))
            return
        parts = _PLACEHOLDER.split(body)
        literal = [part for part in parts[::2] if part]
        if any("{" in part or "}" in part for part in literal):
            self.say(hidden(body))  # too intricate to be taken apart
            return
        parts[::2] = [part if is_reference(part) else hidden(part) for part in parts[::2]]
        self.say("".join(parts))


class _Code:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = _LINES.findall(text)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.plain = "".join(line.rstrip("\r\n") + "\n" for line in self.lines)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = ast.parse(self.plain)
        self.strings: list[_Piece] = []
        self.comments: list[_Piece] = []
        self.numbers: list[_Piece] = []

    def tokenize(self) -> None:
        """Find strings and comments; slower than all the rest."""
        tokens = list(tokenize.generate_tokens(io.StringIO(self.plain).readline))
        comments = [each for each in tokens if each.type == tokenize.COMMENT]
        self.comments = [self._piece(each.start, each.end) for each in comments]
        self.strings = [self._piece(*span) for span in _spans(tokens)]
        self._at = [piece.start for piece in self.strings]

    def pieces(self, node: ast.expr) -> list[_Piece]:
        """The string tokens a literal is made of."""
        start, end = self.span(node)
        first = bisect.bisect_left(self._at, start)
        return self.strings[first : bisect.bisect_left(self._at, end)]

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Where an expression begins and ends in the text."""
        start = self._offset(node.lineno, node.col_offset)
        return start, self._offset(node.end_lineno or 1, node.end_col_offset or 0)

    def _offset(self, line: int, column: int) -> int:
        # ast counts bytes
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def _piece(self, first: _Place, last: _Place) -> _Piece:
        start = self.starts[first[0] - 1] + first[1]
        end = self.starts[last[0] - 1] + last[1]
        return _Piece(start, end, self.text[start:end], self.text[start:end])


def _spans(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[_Place, _Place]]:
    """Where string literals begin and end; Python 3.12 has many tokens for an f-string."""
    depth, begin = 0, (0, 0)
    for each in tokens:
        name = tokenize.tok_name[each.type]
        if name == "STRING" and not depth:
            yield each.start, each.end
        elif name.endswith("STRING_START"):
            begin = begin if depth else each.start
            depth += 1
        elif name.endswith("STRING_END"):
            depth -= 1
            if not depth:
                yield begin, each.end


def mask_python(text: str, mask_comment: Callable[[str], str], *, forms: bool) -> str:
    """Code with the secrets in its literals and comments masked; SyntaxError where it isn't any.

    Without `forms` nothing in it looks like the beginning of a known token.
    """
    code = _Code(text)
    nodes = list(_nodes(code.tree))
    given = [pair for node in nodes for pair in _given(node) if is_secret(pair[0], _RANDOM)]
    given = [(name, literal) for name, value in given for literal in _literals(name, value)]
    if not (forms or given or mask_comment(text) != text or _mask_settings(text) != text):
        return text
    code.tokenize()
    for name, literal in given:
        _mask_value(code, name, literal)
    _mask_literals(code, nodes)
    for comment in code.comments:
        comment.new = mask_comment(comment.text)
    return _replaced(text, [*code.strings, *code.numbers, *code.comments])


def _replaced(text: str, pieces: list[_Piece]) -> str:
    parts, done = [], 0
    for piece in sorted(pieces, key=lambda piece: piece.start):
        parts += [text[done : piece.start], piece.new]
        done = piece.end
    return "".join([*parts, text[done:]])


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        # Before Python 3.12 nodes within f-strings don't know where they are.
        if not _is_template(node):
            todo.extend(ast.iter_child_nodes(node))


def _is_template(node: ast.AST) -> bool:
    return type(node).__name__ in ("JoinedStr", "TemplateStr")


def _is_text(node: ast.AST) -> TypeGuard[ast.expr]:
    constant = isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    return constant or _is_template(node)


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names a node gives values to, with these."""
    match node:
        case ast.Assign():
            for target in node.targets:
                yield from _bound(target, node.value)
        case ast.AnnAssign(value=ast.expr() as value) | ast.AugAssign(value=value):
            yield from _bound(node.target, value)
        case ast.NamedExpr():
            yield from _bound(node.target, node.value)
        case ast.keyword(arg=str(name)):
            yield name, node.value
        case ast.Dict():
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        case ast.arguments():
            yield from _defaults(node)
        case ast.Compare(ops=[ast.Eq() | ast.NotEq()], comparators=[value]):
            yield from ((name, value) for name, _ in _bound(node.left, value) if is_password(name))
        case ast.Call():
            yield from _paired(node)


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match target, value:
        case ((ast.Name(id=name) | ast.Attribute(attr=name)), _):
            # Constants are in capitals, too: STATE_KEY is no variable of the environment.
            yield name.lower() if name.isupper() else name, value
        case ast.Subscript(slice=ast.Constant(value=str(name))), _:
            yield name, value
        case (
            (ast.Tuple(elts=targets) | ast.List(elts=targets)),
            (ast.Tuple(elts=values) | ast.List(elts=values)),
        ) if len(targets) == len(values):
            for each, its in zip(targets, values, strict=True):
                yield from _bound(each, its)


def _defaults(node: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*node.posonlyargs, *node.args]
    for argument, value in zip(reversed(positional), reversed(node.defaults), strict=False):
        yield argument.arg, value
    for argument, keyword in zip(node.kwonlyargs, node.kw_defaults, strict=True):
        if keyword is not None:
            yield argument.arg, keyword


def _paired(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """`os.environ.get("HF_TOKEN", "…")` and `add_argument("--token", default="…")`."""
    called = _called(node)
    texts = [each.value if isinstance(each, ast.Constant) else None for each in node.args]
    if called in _PAIRING:
        for name, value in zip(texts, node.args[1:], strict=False):
            if isinstance(name, str):
                yield name, value
    if called in ("add_argument", "option", "Option"):
        names = [name for name in texts if isinstance(name, str) and name.startswith("-")]
        defaults = [each.value for each in node.keywords if each.arg == "default"]
        yield from ((name.lstrip("-"), value) for name in names for value in defaults)


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _mask_value(code: _Code, name: str, node: ast.expr) -> None:
    if not _is_text(node):
        if type(getattr(node, "value", None)) in (int, float) and is_secret(name, 0):
            start, end = code.span(node)
            code.numbers.append(_Piece(start, end, code.text[start:end], f'"{MASK}"'))
        return
    pieces = code.pieces(node)
    said = "".join(piece.body(piece.text) for piece in pieces)
    if is_secret(name, said) and not is_reference(said):
        for piece in pieces:
            piece.hide()


def _literals(name: str, value: ast.expr) -> Iterator[ast.expr]:
    """The literals a value is made of, or may be."""
    if _is_text(value) or isinstance(value, ast.Constant):
        yield value
        return
    parts: list[ast.expr] = []
    match value:
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            pass
        case ast.Set(elts=parts):
            pass
        case ast.Dict() if is_password(name):
            parts = value.values
        case ast.IfExp():
            parts = [value.body, value.orelse]
        case ast.NamedExpr():
            parts = [value.value]
        case ast.BinOp(op=ast.Add()):
            parts = [value.left, value.right]
        case ast.BinOp(op=ast.Mod()):
            parts = [value.left]
        case ast.Call(func=ast.Attribute(value=ast.Constant() | ast.JoinedStr() as text)):
            parts = [text]
        case ast.Call() if _called(value) in _WRAPPING:
            defaults = [each.value for each in value.keywords if each.arg == "default"]
            parts = [*value.args[:1], *defaults]
    for part in parts:
        yield from _literals(name, part)


def _mask_literals(code: _Code, nodes: list[ast.AST]) -> None:
    """Mask what is recognized by its form, in any string."""
    statements = [node.value for node in nodes if isinstance(node, ast.Expr)]
    docstrings = {code.span(value)[0] for value in statements if _is_text(value)}
    for node in nodes:
        if _is_text(node):
            _mask_literal(code.pieces(node), settings=code.span(node)[0] not in docstrings)


def _mask_literal(pieces: list[_Piece], *, settings: bool) -> None:
    for piece in pieces:
        if piece.new == piece.text:
            body = mask_forms(piece.body(piece.text))
            piece.say(_mask_settings(body) if settings else body)
    said = "".join(piece.body(piece.new) for piece in pieces)
    if len(pieces) > 1 and mask_forms(said) != said:
        for piece in pieces:
            piece.hide()


def _mask_settings(text: str) -> str:
    return _SETTING.sub(_mask_setting, text)


def _mask_setting(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    secret = is_password(name) and is_secret(name, value) and not is_reference(value)
    return match["given"] + MASK if secret else match[0]
