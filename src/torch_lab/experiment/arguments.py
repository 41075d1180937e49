"""What a configuration function is called with: the config, and the command line's words."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from types import CodeType, NoneType, UnionType
from typing import Any

from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.utils.paths import display


def require_config_only(function: Callable[..., Any], name: str) -> None:
    """Refuse a function that can't be called with the config alone."""
    signature = _signature(function)
    try:
        signature.bind(None)
    except TypeError as error:
        raise _not_for_config(function, name, f"with config alone: {error}") from None


def bind_arguments(
    function: Callable[..., Any], name: str, args: Sequence[str]
) -> tuple[list[object], dict[str, object]]:
    """The arguments after config, and the keyword-only ones: words parsed by annotation."""
    signature = _signature(function)
    if not _takes_positional(signature):
        raise _not_for_config(function, name, "with config")
    usage = f"it is defined as {name}{signature}, {where(function)}"
    words, named = _split(signature, args)
    try:
        signature.bind(None, *words, **named)
    except TypeError as error:
        given = " ".join(args) or "none"
        raise UsageError(
            f"the arguments do not fit {name}: {error}; got {given}", hint=usage
        ) from None
    positional = zip(_positional_parameters(signature), words, strict=False)
    keyword = ((signature.parameters[key], word) for key, word in named.items())
    try:
        return (
            [_parse(word, parameter) for parameter, word in positional],
            {parameter.name: _parse(word, parameter) for parameter, word in keyword},
        )
    except ValueError as error:
        raise UsageError(str(error), hint=usage) from None


def where(function: Callable[..., Any]) -> str:
    """The file and line of a function, as precisely as it can be known."""
    target = inspect.unwrap(function)
    code = getattr(target, "__code__", None)
    if isinstance(code, CodeType):
        return f"{display(code.co_filename)}:{code.co_firstlineno}"
    return f"module {getattr(target, '__module__', '?')}"


def _not_for_config(function: Callable[..., Any], name: str, how: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name}{_signature(function)}, {where(function)}, can't be called {how}"
    )


def _signature(function: Callable[..., Any]) -> Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        # An annotation that exists for type checkers only: all of them stay text.
        return inspect.signature(function)


def _takes_positional(signature: Signature) -> bool:
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)
    return any(parameter.kind in kinds for parameter in signature.parameters.values())


def _split(signature: Signature, args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Words by position, and those that `--name=word` gives to a keyword-only parameter."""
    parameters = signature.parameters
    words: list[str] = []
    named: dict[str, str] = {}
    for arg in args:
        key, equals, word = arg.removeprefix("--").partition("=")
        keyword = key in parameters and parameters[key].kind is Parameter.KEYWORD_ONLY
        if not (arg.startswith("--") and equals and keyword):
            words.append(arg)
        elif key in named:
            raise UsageError(f"--{key} is given twice: {named[key]} and {word}")
        else:
            named[key] = word
    return words, named


def _positional_parameters(signature: Signature) -> Iterator[Parameter]:
    """The parameter that takes each word, config's own left out; `*args` takes all the rest."""
    first = True
    for parameter in signature.parameters.values():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            while True:
                yield parameter
        if parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
            if not first:
                yield parameter
            first = False


def _boolean(word: str) -> bool:
    spelt = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if word.lower() not in spelt:
        raise ValueError
    return spelt[word.lower()]


_PARSERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "int": ("an int", int),
    "float": ("a number", float),
    "bool": ("true or false", _boolean),
    "Path": ("a path", Path),
    "pathlib.Path": ("a path", Path),
}


def _parse(word: str, parameter: Parameter) -> object:
    """The word in the type its parameter asks for, or ValueError; other types get the word."""
    kind = _type_name(parameter.annotation)
    if kind not in _PARSERS:
        return word
    expected, parser = _PARSERS[kind]
    try:
        return parser(word)
    except ValueError:
        raise ValueError(f"{parameter.name}: expected {expected}, got {word!r}") from None


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union:
        members = [m for m in typing.get_args(annotation) if m is not NoneType]
        return _type_name(members[0]) if len(members) == 1 else ""
    if annotation is Path:
        return "Path"
    return annotation.__name__ if annotation in (int, float, bool) else ""
