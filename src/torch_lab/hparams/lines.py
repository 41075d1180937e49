"""On which line of which script a hyperparameter is set, as far as reading the source tells."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch_lab.utils.paths import display

_Lines = dict[str, tuple[Path, int]]  # by dotted key


def located(path: Path, problems: Iterable[str]) -> list[str]:
    """Problems that begin with a dotted key, with the line that sets it before them."""
    lines = _script(path, ())
    return [f"{_where(path, lines, problem.partition(':')[0])}{problem}" for problem in problems]


def _where(path: Path, lines: _Lines, key: str) -> str:
    key = "" if key == "hparams" else key
    if key.startswith("config."):  # what is missing, or below a list, stands where its parent does
        while key and key not in lines:
            key = key.rpartition(".")[0]
    # "trainer.int" of {"trainer.int.max_epochs": 3} is set where the longer key is.
    found = [name for name in lines if name == key or name.startswith(f"{key}.")]
    if not found:
        return ""
    file, line = lines[min(found, key=len)]
    return f"line {line}: " if file == path else f"{display(file)}:{line}: "


def _script(path: Path, readers: tuple[Path, ...]) -> _Lines:
    """The keys that a script's `hparams` gets; `readers` are the scripts that led to it."""
    if path in readers:
        return {}
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):  # gone or changed since it was executed
        return {}
    reading = _Reading(path, (*readers, path))
    for statement in tree.body:
        reading.take(statement)
    return reading.variables.get("hparams", {})


class _Reading:
    """Goes through a script's statements, noting the keys of each variable."""

    def __init__(self, path: Path, readers: tuple[Path, ...]) -> None:
        self.path = path
        self.readers = readers
        self.variables: dict[str, _Lines] = {}

    def take(self, statement: ast.stmt) -> None:
        match statement:
            case (
                ast.Assign(targets=[target], value=value)
                | ast.AnnAssign(target=target, value=ast.expr() as value)
            ):
                self._assign(target, value)
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(value=owner, attr="update"), args=[changes])
            ):
                self._set(owner, self._keys(changes))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.variables[target.id] = self._keys(value) | {"": (self.path, target.lineno)}
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            self._set(target.value, self._entry(target.slice, value))

    def _set(self, owner: ast.expr, changes: _Lines) -> None:
        """Put keys below `owner`: a variable, or a place in one."""
        while isinstance(owner, ast.Subscript) and isinstance(owner.slice, ast.Constant):
            changes = {f"{owner.slice.value!s}.{key}": line for key, line in changes.items()}
            owner = owner.value
        if isinstance(owner, ast.Name):
            self.variables.setdefault(owner.id, {}).update(changes)

    def _keys(self, node: ast.expr) -> _Lines:
        """The dotted keys of what an expression makes."""
        match node:
            case ast.Name(id=name):
                return dict(self.variables.get(name, {}))
            case ast.Dict(keys=keys, values=values):
                parts = [
                    self._keys(value) if key is None else self._entry(key, value)
                    for key, value in zip(keys, values, strict=True)
                ]
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                parts = [self._keys(left), self._keys(right)]
            case ast.Call():
                parts = [*self._call(node)]
            case ast.Attribute(value=ast.Call() as call, attr="hparams"):
                parts = [*self._scripts(call)]
            case _:
                parts = []
        return {key: line for part in parts for key, line in part.items()}

    def _entry(self, key: ast.expr, value: ast.expr) -> _Lines:
        if not isinstance(key, ast.Constant):
            return {}
        below = {f"{key.value!s}.{name}": line for name, line in self._keys(value).items()}
        return {str(key.value): (self.path, key.lineno), **below}

    def _call(self, call: ast.Call) -> Iterator[_Lines]:
        """`dict(…)`, `deepcopy(…)`, `extend(…)`: what goes in comes out."""
        yield from self._scripts(call)
        for argument in call.args:
            yield self._keys(argument)
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield self._entry(
                    ast.copy_location(ast.Constant(keyword.arg), keyword), keyword.value
                )

    def _scripts(self, call: ast.Call) -> Iterator[_Lines]:
        """The scripts whose paths a call spells out."""
        for node in ast.walk(call):
            if isinstance(node, ast.Constant) and str(node.value).endswith(".py"):
                yield _script(self.path.parent / str(node.value), self.readers)
