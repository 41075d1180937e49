"""What a configuration function takes its config as."""

from __future__ import annotations

import ast
import typing
from collections.abc import Callable, Mapping
from inspect import Parameter
from pathlib import Path
from types import NoneType
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.experiment.finding import Experiment
from torch_lab.experiment.signatures import parameters, shown_signature, where
from torch_lab.hparams.annotations import alternatives, is_open, is_structure, spelled


def config_type(experiment: Experiment, name: str) -> Any:
    """The dataclass or the like that the function takes the config as; None for a dict.

    The configuration script is imported only where its source doesn't show that it's a dict.
    """
    from torch_lab.experiment.calling import require_function

    if _has_no_annotation(experiment.configuration, name):
        return None
    return type_of_config(require_function(experiment, name), name)


def type_of_config(function: Callable[..., Any], name: str) -> Any:
    """The same of a function that has been imported."""
    annotation = next(
        (p.annotation for p in parameters(function) if p.kind is not Parameter.KEYWORD_ONLY),
        Parameter.empty,
    )
    if annotation is Parameter.empty or is_open(annotation):
        return None
    kinds = [each for each in alternatives(annotation) if each is not NoneType]
    if any(is_structure(each) for each in kinds):
        return annotation
    if any(_takes_a_dict(each) for each in kinds):
        return None
    raise ConfigurationError(
        f"{shown_signature(function, name)}, {where(function)}: a config can't be given as"
        f" {spelled(annotation)}",
        hint="annotate it as a dataclass, a TypedDict, a pydantic model, or a dict",
    )


def _takes_a_dict(annotation: Any) -> bool:
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True
    return issubclass(dict, kind) or issubclass(kind, Mapping)


def _has_no_annotation(script: Path, name: str) -> bool:
    """Whether the function is defined in the script, once, with nothing said of its config."""
    try:
        body = ast.parse(script.read_bytes()).body
    except (OSError, ValueError, SyntaxError):  # importing it tells what is wrong
        return False
    found = [node for node in body if _binds(node, name)]
    if len(found) != 1 or not isinstance(found[0], ast.FunctionDef) or found[0].decorator_list:
        return False
    arguments = found[0].args
    every = [*arguments.posonlyargs, *arguments.args]
    return not every or every[0].annotation is None


def _binds(node: ast.stmt, name: str) -> bool:
    """Whether a statement may give the name a value."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return node.name == name
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    names |= {each.name for each in ast.walk(node) if isinstance(each, ast.FunctionDef)}
    imported = {a.asname or a.name for a in ast.walk(node) if isinstance(a, ast.alias)}
    return bool({name, "*"} & (names | imported))
