"""The keyword arguments of the installed Lightning's Trainer, read from its source.

Importing Lightning takes seconds; reading the signatures takes milliseconds, and has to work
before anything heavy is loaded.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from torch_lab.errors import TorchLabError
from torch_lab.hparams.kinds import ANYTHING, POSITIVE_INT, Kind, objects, one_of

_METHODS = {"init": "__init__", "fit": "fit", "validate": "validate", "predict": "predict"}
_TYPES = {name: name for name in ("bool", "int", "float", "str", "list", "dict")} | {
    "_PATH": "path"
}

# What Lightning takes and then fails on, in the midst of training.
_NARROWER = {
    "accumulate_grad_batches": POSITIVE_INT,
    "callbacks": objects("a Lightning Callback, a list of them or None"),
    "logger": objects("a Lightning Logger, a list of them, a bool or None", bool),
}


@cache
def trainer_kwargs(section: str) -> dict[str, Kind]:
    """What `trainer.<section>` may hold, by name; the module and its data are among it."""
    function = _functions()[_METHODS[section]]
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    kinds = {a.arg: _kind(a.annotation) for a in arguments if a.arg != "self"}
    return {name: _NARROWER.get(name, kind) for name, kind in kinds.items()}


@cache
def _functions() -> dict[str, ast.FunctionDef]:
    source = _trainer_source()
    try:
        body = ast.parse(source.read_bytes()).body
    except (OSError, SyntaxError) as error:
        raise TorchLabError(f"Lightning's Trainer can't be read from {source}: {error}") from error
    trainer = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == "Trainer")
    return {node.name: node for node in trainer.body if isinstance(node, ast.FunctionDef)}


def _trainer_source() -> Path:
    # Only the top-level spec: that of a submodule would import the package, and torch with it.
    spec = importlib.util.find_spec("pytorch_lightning")
    if spec is None or spec.origin is None:
        raise TorchLabError(
            "pytorch-lightning is not installed", hint="pip install pytorch-lightning"
        )
    return Path(spec.origin).parent / "trainer" / "trainer.py"


def _kind(annotation: ast.expr | None) -> Kind:
    names = list(dict.fromkeys(_names(annotation)))
    return ANYTHING if "?" in names else one_of(*names)


def _names(node: ast.expr | None) -> Iterator[str]:
    """The plain types of an annotation; "?" for one that only Lightning can check."""
    match node:
        case ast.Constant(value=None):
            yield "None"
        case ast.Name(id=name) if name in _TYPES:
            yield _TYPES[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _names(left)
            yield from _names(right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            yield from _names(inner)
            yield "None"
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=members)):
            for member in members:
                yield from _names(member)
        case ast.Subscript(value=ast.Name() as outer):
            yield from _names(outer)
        case _:
            yield "?"
