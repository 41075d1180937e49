"""What a configuration function is called with: the config, and the command line's words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter, Signature
from typing import Any

from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.experiment.signatures import parameters, shown_signature, where
from torch_lab.hparams.annotations import is_open
from torch_lab.hparams.converting import Unfit
from torch_lab.hparams.words import from_text
from torch_lab.utils.text import nearest

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def require_config_only(function: Callable[..., Any], name: str) -> None:
    """Refuse a function that can't be called with the config alone."""
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise _not_for_config(function, name, f"with config alone: {error}") from None


def bind_arguments(
    function: Callable[..., Any], name: str, args: Sequence[str]
) -> tuple[list[object], dict[str, object]]:
    """The arguments after config, and the keyword-only ones: words parsed by annotation."""
    known = parameters(function)
    if not any(each.kind in (*_BY_POSITION, Parameter.VAR_POSITIONAL) for each in known):
        raise _not_for_config(function, name, "with config")
    usage = f"it is defined as {shown_signature(function, name)}, {where(function)}"
    options = {each.name: each for each in known if each.kind is Parameter.KEYWORD_ONLY}
    words, named = _split(options, args)
    try:
        Signature(known).bind(None, *words, **named)
    except TypeError as error:
        given, meant = " ".join(args) or "none", _meant(options, words)
        lines = [f"the arguments do not fit {name}: {error}; got {given}{meant}"]
        lines += [] if meant else remarks(function, name, args)
        raise UsageError("\n".join(lines), hint=usage) from None
    by_position = list(zip(_takers(known), words, strict=False))
    by_name = [(options[key], word) for key, word in named.items()]
    read, problems = _read([*by_position, *by_name])
    if problems:
        lines = [*problems, *_shared_out(by_position), *remarks(function, name, args)]
        raise UsageError("\n".join(lines), hint=usage)
    return read[: len(words)], dict(zip(named, read[len(words) :], strict=True))


def remarks(function: Callable[..., Any], name: str, args: Sequence[str]) -> list[str]:
    """What to say of words that look like a parameter's value by name, and are taken as they are.

    Only keyword-only parameters are given by name.
    """
    known = parameters(function)
    options = {each.name: each for each in known if each.kind is Parameter.KEYWORD_ONLY}
    by_position = {each.name for each in known if each.kind in _BY_POSITION}
    lines = []
    for word in _split(options, args)[0]:
        if why := _why_as_it_is(word, by_position, options):
            lines.append(f"note: {word} goes to {name} as it is{why}")
    return lines


def _why_as_it_is(word: str, by_position: set[str], options: dict[str, Parameter]) -> str | None:
    spelling, equals, _ = word.partition("=")
    key = _key(spelling)
    if not (equals and key):
        return None
    if key in by_position:
        return (
            f': "{key}" is no keyword-only parameter (write * before it, or give the value alone)'
        )
    match = nearest(key, options)
    return None if match is None else f"; was --{match} meant?"


def _shared_out(by_position: Sequence[tuple[Parameter, str]]) -> list[str]:
    """Which parameter got which word, where there are several."""
    if len(by_position) < 2:
        return []
    shares = ", ".join(f"{parameter.name}={word}" for parameter, word in by_position)
    return [f"by position: {shares}"]


def _not_for_config(function: Callable[..., Any], name: str, how: str) -> ConfigurationError:
    return ConfigurationError(
        f"{shown_signature(function, name)}, {where(function)}, can't be called {how}"
    )


def _split(options: dict[str, Parameter], args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Words by position, and those that `--name=word` gives to a keyword-only parameter."""
    words: list[str] = []
    named: dict[str, str] = {}
    for arg in args:
        spelling, equals, word = arg.partition("=")
        key = _key(spelling)
        if not (equals and key in options):
            words.append(arg)
        elif key in named:
            raise UsageError(f"{spelling} is given twice: {named[key]} and {word}")
        else:
            named[key] = word
    return words, named


def _key(spelling: str) -> str:
    """The parameter that `--batch-size` or `--batch_size` names."""
    return spelling[2:].replace("-", "_") if spelling.startswith("--") else ""


def _meant(options: dict[str, Parameter], words: Sequence[str]) -> str:
    """What a word that looks like an option, and is none, was probably meant as."""
    for word in words:
        match = nearest(_key(word.partition("=")[0]), options)
        if match is not None:
            return f'; did you mean "--{match}=VALUE"?'
    return ""


def _takers(known: Sequence[Parameter]) -> Iterator[Parameter]:
    """The parameter that takes each word, config's own left out; `*args` takes all the rest."""
    first = True
    for parameter in known:
        while parameter.kind is Parameter.VAR_POSITIONAL:
            yield parameter
        if parameter.kind in _BY_POSITION:
            if not first:
                yield parameter
            first = False


def _read(words: Sequence[tuple[Parameter, str]]) -> tuple[list[object], list[str]]:
    """The words as their parameters ask for them, and what is wrong with them."""
    values: list[object] = []
    problems: list[str] = []
    for parameter, word in words:
        try:
            values.append(_value(parameter, word))
        except Unfit as unfit:
            problems += map(str, unfit.problems)
    return values, problems


def _value(parameter: Parameter, word: str) -> object:
    annotation = parameter.annotation
    if annotation is Parameter.empty or is_open(annotation):
        return word
    return from_text(annotation, word, parameter.name)
