"""The parameters of a configuration function, and how messages show it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from inspect import Parameter, Signature
from types import CodeType
from typing import Any

from torch_lab.hparams.annotations import evaluated, spelled
from torch_lab.utils.paths import display


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters, annotations that are text evaluated one by one where that can be done."""
    module = getattr(inspect.unwrap(function), "__module__", "")
    return [
        each.replace(annotation=evaluated(each.annotation, module))
        for each in inspect.signature(function).parameters.values()
    ]


def shown_signature(function: Callable[..., Any], name: str) -> str:
    """Name and parameters as the source has them, but for the modules of types."""
    return f"{name}{Signature([_shown(each) for each in parameters(function)])}"


def _shown(parameter: Parameter) -> Parameter:
    annotation, default = parameter.annotation, parameter.default
    if annotation is not Parameter.empty:
        annotation = _Verbatim(spelled(annotation))
    if isinstance(default, Enum):
        default = _Verbatim(str(default))
    return parameter.replace(annotation=annotation, default=default)


def where(function: Callable[..., Any]) -> str:
    """The file and line of a function, as precisely as it can be known."""
    target = inspect.unwrap(function)
    code = getattr(target, "__code__", None)
    if isinstance(code, CodeType):
        return f"{display(code.co_filename)}:{code.co_firstlineno}"
    return f"module {getattr(target, '__module__', '?')}"


class _Verbatim:
    """What a signature shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
