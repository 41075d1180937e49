"""Files of an experiment as its clone has them: names that lead into the source lead into itself.

Only those parts are replaced: comments, line ends and formatting stay what they are, byte for byte.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath

from torch_lab.tasks.clone.references import Edit, Move

_TEXTS = frozenset(
    (".md", ".rst", ".txt", ".sh", ".sbatch", ".slurm", ".toml", ".yaml", ".yml", ".json", ".ipynb")
) | {".cfg", ".ini"}
_STRINGS = frozenset({"STRING", "FSTRING_MIDDLE", "TSTRING_MIDDLE"})
_JOINING = frozenset({"Path", "PurePath", "PosixPath", "PurePosixPath", "join", "joinpath"})


@dataclass(frozen=True)
class Line:
    """A line of a file, as it is in the clone."""

    file: str
    number: int
    text: str


@dataclass(frozen=True)
class Rewritten:
    """A file's content in the clone; its lines that changed, and those that name the source yet."""

    data: bytes
    changed: tuple[Line, ...] = ()
    left: tuple[Line, ...] = ()


def rewrite(name: str, data: bytes, move: Move) -> Rewritten:
    """The file at the path `name` in the experiment, for the clone."""
    text = _decoded(name, data)
    if text is None or move.old not in text[0]:
        return Rewritten(data)
    content, encoding = text
    at = (move.directory / name).parent
    source = _Source(content)
    if name.endswith(".py"):
        edits = _in_python(source, name, move, at)
    else:
        edits = list(move.in_text(content, at))
    new, changed = _applied(source, edits)
    left = _mentions(name, new, move)
    lines = tuple(Line(name, number, new_line) for number, new_line in changed)
    return Rewritten(data if not edits else new.encode(encoding), lines, tuple(left))


def _decoded(name: str, data: bytes) -> tuple[str, str] | None:
    """The text and its encoding; None of what is no text, or in none that can be read."""
    try:
        if name.endswith(".py"):
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        elif PurePosixPath(name).suffix.lower() in _TEXTS:
            encoding = "utf-8"
        else:
            return None
        return data.decode(encoding), encoding
    except (UnicodeDecodeError, SyntaxError, LookupError):
        return None


class _Source:
    """A text whose positions are found by line and column."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = list(io.StringIO(text, newline=""))  # as Python counts them, ends kept
        self._starts = [0, *accumulate(map(len, self.lines))]

    def offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def byte_offset(self, line: int, column: int) -> int:
        """As ast counts: columns are bytes."""
        head = self.lines[line - 1].encode()[:column] if line <= len(self.lines) else b""
        return self.offset(line, len(head.decode(errors="ignore")))

    def line_of(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1


def _applied(source: _Source, edits: list[Edit]) -> tuple[str, list[tuple[int, str]]]:
    """The text after the edits, and the numbers and words of its lines that changed."""
    text, numbers = source.text, set()
    for edit in sorted(set(edits), key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
        numbers.add(source.line_of(edit.start))
    lines = _Source(text).lines
    return text, [(number, lines[number - 1].strip()) for number in sorted(numbers)]


def _in_python(source: _Source, name: str, move: Move, at: Path) -> list[Edit]:
    try:
        tree = ast.parse(source.text)
        spans = list(_strings(source))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return []  # no Python of today's; what it names is said
    edits = [
        Edit(start + edit.start, start + edit.end, edit.text)
        for start, end in spans
        for edit in _in_string(source.text, start, end, move, at)
    ]
    edits += _in_pieces(source, tree, move, at)
    depth = len(PurePosixPath(name).parts) - 1
    imports = _Imports(source, move, name, depth)
    return edits + [edit for node in ast.walk(tree) for edit in imports.of(node)]


def _strings(source: _Source) -> Iterator[tuple[int, int]]:
    """Where the strings are, or the fixed parts of an f-string."""
    for token in tokenize.generate_tokens(io.StringIO(source.text, newline="").readline):
        if tokenize.tok_name[token.type] in _STRINGS:
            yield source.offset(*token.start), source.offset(*token.end)


def _in_string(text: str, start: int, end: int, move: Move, at: Path) -> Iterator[Edit]:
    part = text[start:end]
    yield from move.in_text(part, at)
    # A path with spaces is one only as a whole.
    whole = re.fullmatch(
        rf"\w*(['\"]+)(?P<before>.*?)(?<![\w.-]){re.escape(move.old)}(?P<after>/.*)?\1", part
    )
    if whole and " " in part and move.leads_inside(whole["before"], whole["after"] or "", at):
        first = whole.end("before")
        yield Edit(first, first + len(move.old), move.new)


def _in_pieces(source: _Source, tree: ast.AST, move: Move, at: Path) -> Iterator[Edit]:
    """`ROOT / "experiments" / "00_digits" / "a.json"`, `Path("experiments", "00_digits")`."""
    seen: set[ast.Constant] = set()
    for node in ast.walk(tree):  # outer expressions first: they have all parts
        parts = _parts(node)
        for n, part in enumerate(parts):
            if part is None or part.value != move.old or part in seen:
                continue
            seen.add(part)
            before = "".join(f"{each}/" for each in _known(parts[:n][::-1])[::-1])
            after = "".join(f"/{each}" for each in _known(parts[n + 1 :]))
            if move.leads_inside(before, after, at):
                yield _named(source, part, move)


def _named(source: _Source, node: ast.expr, move: Move) -> Edit:
    """The edit of the old name in a text in the code."""
    start = source.byte_offset(node.lineno, node.col_offset)
    found = source.text.index(move.old, start)
    return Edit(found, found + len(move.old), move.new)


def _parts(node: ast.AST) -> list[ast.Constant | None]:
    """The parts that an expression joins to a path: those that are texts, None for the others."""
    match node:
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return [*(_parts(left) or [None]), *(_parts(right) or [None])]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if (
            name in _JOINING
        ):
            return [part for each in args for part in (_parts(each) or [None])]
        case ast.Constant(value=str()):
            return [node]
    return []


def _known(parts: list[ast.Constant | None]) -> list[str]:
    """The texts up to the first part that is none."""
    texts = []
    for part in parts:
        if part is None:
            break
        texts.append(str(part.value).strip("/"))
    return texts


@dataclass(frozen=True)
class _Imports:
    """Import statements of the file `name`, which lies `depth` folders below the experiment.

    A numbered folder is no identifier, so that no statement names the clone: they get relative.
    """

    source: _Source
    move: Move
    name: str
    depth: int

    def of(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.ImportFrom(module=str(module), level=level):
                yield from self._from(node, module, level)
            case ast.Import(names=[ast.alias(name=module, asname=str(asname))]):
                yield from self._as(node, module, asname)
            case ast.Call(args=[ast.Constant(value=str(text)) as first, *_]):
                yield from self._call(first, text)

    def _from(self, node: ast.ImportFrom, module: str, level: int) -> Iterator[Edit]:
        rest = self._inside(module, level)
        start, end = self._span(node)
        found = re.match(r"from\s*(\.*\s*[\w.]+)\s+import\b", self.source.text[start:end])
        if rest is not None and found is not None:
            yield Edit(start + found.start(1), start + found.end(1), self._relative(rest))

    def _as(self, node: ast.Import, module: str, asname: str) -> Iterator[Edit]:
        rest = self._inside(module, 0)
        if rest:
            folder, _, last = rest.rpartition(".")
            start, end = self._span(node)
            yield Edit(start, end, f"from {self._relative(folder)} import {last} as {asname}")

    def _call(self, first: ast.Constant, text: str) -> Iterator[Edit]:
        """`import_module("..00_digits.model", __package__)`."""
        head = "." * (self.depth + 2) + self.move.old
        if text == head or text.startswith(f"{head}."):
            yield _named(self.source, first, self.move)

    def _inside(self, module: str, level: int) -> str | None:
        """What follows the experiment in a module's name; None where it names another's."""
        if level == self.depth + 2:  # from the folder above the experiment
            head = self.move.old
        elif level == 0 and self.move.dotted is not None:
            head = self.move.dotted
        else:
            return None
        if module == head:
            return ""
        return module.removeprefix(f"{head}.") if module.startswith(f"{head}.") else None

    def _relative(self, rest: str) -> str:
        return "." * (self.depth + 1) + rest

    def _span(self, node: ast.stmt) -> tuple[int, int]:
        start = self.source.byte_offset(node.lineno, node.col_offset)
        end = self.source.byte_offset(node.end_lineno or 0, node.end_col_offset or 0)
        return start, end


def _mentions(name: str, text: str, move: Move) -> Iterator[Line]:
    """The lines that name the source still; in code, comments are no concern."""
    source = _Source(text)
    comments = list(_comments(source)) if name.endswith(".py") else []
    found = [each.start() for each in move.word.finditer(text)]
    outside = [at for at in found if not any(start <= at < end for start, end in comments)]
    for number in dict.fromkeys(map(source.line_of, outside)):
        yield Line(name, number, source.lines[number - 1].strip())


def _comments(source: _Source) -> Iterator[tuple[int, int]]:
    with suppress(SyntaxError, tokenize.TokenError):
        for token in tokenize.generate_tokens(io.StringIO(source.text, newline="").readline):
            if token.type == tokenize.COMMENT:
                yield source.offset(*token.start), source.offset(*token.end)
