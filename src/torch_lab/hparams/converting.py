"""Values made to fit type annotations."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Any, Literal

from torch_lab.hparams import structures
from torch_lab.hparams.annotations import (
    MAPPINGS,
    SCALARS,
    SEQUENCES,
    alternatives,
    container,
    expected,
    is_enum,
    is_model,
    is_open,
    is_path,
    is_structure,
    options,
)
from torch_lab.hparams.structures import Member, members, place, plain
from torch_lab.utils.text import nearest, shown, suggestion


@dataclass(frozen=True)
class Problem:
    """What is wrong with the value at a dotted key."""

    key: str
    text: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


class Unfit(ValueError):
    """A value does not fit; `problems` say why."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def of(cls, annotation: Any, value: object, key: str) -> Unfit:
        """A value of another kind than the annotation's."""
        text = f"expected {expected(annotation)}, got {shown(value)}{_meant(annotation, value)}"
        return cls([Problem(key, text)])

    @classmethod
    def word(cls, annotation: Any, text: str, key: str) -> Unfit:
        """A word that can't be read as what the annotation asks for."""
        kind = expected(annotation, as_text=True)
        return cls([Problem(key, f"expected {kind}, got {text!r}{_meant(annotation, text)}")])


def _meant(annotation: Any, value: object) -> str:
    names = [name for member in alternatives(annotation) for name in options(member)]
    match = nearest(value, names) if isinstance(value, str) else None
    return f'; did you mean "{match}"?' if match else ""


# -- values ----------------------------------------------------------------------------------


def convert(annotation: Any, value: Any, key: str) -> Any:
    """The value as the annotation asks for it, or Unfit with all that is wrong with it."""
    members_ = alternatives(annotation)
    if len(members_) > 1:
        return _one_of(annotation, members_, value, key)
    (annotation,) = members_
    if is_open(annotation):
        return value
    if is_structure(annotation):
        return _structure(annotation, value, key)
    if container(annotation) is not None:
        return _container(annotation, value, key)
    try:
        return _single(annotation, value)
    except (TypeError, ValueError, LookupError):
        raise Unfit.of(annotation, value, key) from None


def _one_of(annotation: Any, members_: tuple[Any, ...], value: Any, key: str) -> Any:
    """The member that the value is one of as it stands, else the first that it can be made to."""
    fitting, refusals = [], []
    for member in members_:
        if _is_a(value, member):
            return convert(member, value, key)
        try:
            fitting.append(convert(member, value, key))
        except Unfit as unfit:
            refusals.append((member, unfit))
    if fitting:
        return next((each for each in fitting if type(each) is type(value)), fitting[0])
    raise nearest_refusal(refusals, value) or Unfit.of(annotation, value, key)


def _is_a(value: Any, member: Any) -> bool:
    if not isinstance(member, type) or isinstance(value, bool) or typing.is_typeddict(member):
        return False
    return not getattr(member, "_is_protocol", False) and isinstance(value, member)


def nearest_refusal(refusals: list[tuple[Any, Unfit]], value: Any) -> Unfit | None:
    """Of several structures or containers, what the one says that the value fits best."""
    kinds = (dict,) if isinstance(value, dict) else (list, tuple)
    if not isinstance(value, kinds):
        return None
    compound = [
        unfit
        for member, unfit in refusals
        if (is_structure(member) or container(member) in MAPPINGS) == isinstance(value, dict)
        and (is_structure(member) or container(member) is not None)
    ]
    return min(compound, key=lambda unfit: len(unfit.problems), default=None)


def _single(annotation: Any, value: Any) -> Any:
    """A value without parts; TypeError, ValueError or LookupError if it doesn't fit."""
    if annotation in SCALARS:
        if not SCALARS[annotation].accepts(value):
            raise TypeError
        return value if isinstance(value, (str, NoneType)) else annotation(value)
    if is_path(annotation):
        return annotation(value)
    if is_enum(annotation):
        return _enum(annotation, value)
    if typing.get_origin(annotation) is Literal:
        return _literal(annotation, value)
    return instance_of(annotation, value)


def _enum(annotation: type[Enum], value: Any) -> Enum:
    if isinstance(value, annotation):
        return value
    if isinstance(value, str) and value in annotation.__members__:
        return annotation[value]
    return annotation(value)


def _literal(annotation: Any, value: Any) -> Any:
    for option in typing.get_args(annotation):
        if isinstance(option, Enum) and value in (option, option.name):
            return option
        if type(option) is type(value) and option == value:
            return value
    raise ValueError


def instance_of(annotation: Any, value: Any) -> Any:
    """A value of any other class; what only a type checker understands is let through."""
    kind = typing.get_origin(annotation) or annotation
    if kind is type:
        bounds = tuple(each for each in typing.get_args(annotation) if isinstance(each, type))
        fits = isinstance(value, type) and (not bounds or issubclass(value, bounds))
    elif kind is collections.abc.Callable:
        fits = callable(value)
    elif isinstance(kind, type) and not getattr(kind, "_is_protocol", False):
        fits = isinstance(value, kind)
    else:
        fits = True
    if not fits:
        raise TypeError
    return value


# -- containers ------------------------------------------------------------------------------


def element(annotation: Any, position: int) -> Any:
    """The annotation of an element of a list, tuple or set."""
    arguments = typing.get_args(annotation)
    if not arguments:
        return Any
    if container(annotation) is tuple and Ellipsis not in arguments:
        return arguments[position] if position < len(arguments) else Any
    return arguments[0]


def _container(annotation: Any, value: Any, key: str) -> Any:
    kind = container(annotation)
    if kind in MAPPINGS:
        if not isinstance(value, collections.abc.Mapping):
            raise Unfit.of(annotation, value, key)
        return _mapping(annotation, value, key)
    given: tuple[type, ...] = (list, tuple)
    if kind in (set, frozenset):
        given = (*given, set, frozenset)
    count = len(typing.get_args(annotation))
    fixed = kind is tuple and count > 0 and Ellipsis not in typing.get_args(annotation)
    if not isinstance(value, given):
        raise Unfit.of(annotation, value, key)
    items = list(typing.cast(Iterable[Any], value))
    if fixed and len(items) != count:
        raise Unfit.of(annotation, value, key)
    parts = _all((element(annotation, i), each, f"{key}.{i}") for i, each in enumerate(items))
    if kind in (list, tuple, set, frozenset):
        return kind(parts)
    return tuple(parts) if isinstance(value, tuple) else parts


def _mapping(annotation: Any, value: collections.abc.Mapping[Any, Any], key: str) -> dict[Any, Any]:
    of_keys, of_values = typing.get_args(annotation) or (Any, Any)
    keys = _all((of_keys, each, f"{key}.{each}") for each in value)
    values = _all((of_values, item, f"{key}.{each}") for each, item in value.items())
    return dict(zip(keys, values, strict=True))


def _all(parts: Iterable[tuple[Any, Any, str]]) -> list[Any]:
    """Each part converted, or Unfit with the problems of all of them."""
    converted: list[Any] = []
    problems: list[Problem] = []
    for annotation, value, key in parts:
        try:
            converted.append(convert(annotation, value, key))
        except Unfit as unfit:
            problems += unfit.problems
    if problems:
        raise Unfit(problems)
    return converted


# -- structures ------------------------------------------------------------------------------


def _structure(kind: Any, value: Any, key: str) -> Any:
    if structures.is_instance(value) and isinstance(value, kind):
        kind, value = type(value), plain(value)
    if not isinstance(value, dict):
        raise Unfit.of(kind, value, key)
    if is_model(kind):
        return _model(kind, value, key)
    known = members(kind)
    problems = [*_unknown_keys(value, known, key), *_missing(value, known, kind, key)]
    given: dict[str, Any] = {}
    for name, member in known.items():
        if name in value:
            try:
                given[member.name] = convert(member.annotation, value[name], f"{key}.{name}")
            except Unfit as unfit:
                problems += unfit.problems
    if problems:
        raise Unfit(problems)
    return _made(kind, given, key)


def _unknown_keys(value: dict[Any, Any], known: dict[str, Member], key: str) -> Iterator[Problem]:
    names = [name for member in known.values() for name in member.names]
    for each in value:
        if each not in names:
            meant = suggestion(str(each), names)
            yield Problem(f"{key}.{each}", f"unknown key; {meant}")


def _missing(
    value: dict[Any, Any], known: dict[str, Member], kind: type, key: str
) -> Iterator[Problem]:
    for name, member in known.items():
        if member.required and not any(each in value for each in member.names):
            yield _missing_problem(f"{key}.{name}", member.annotation, kind)


def _missing_problem(key: str, annotation: Any, kind: type) -> Problem:
    what = f"expected {expected(annotation)}" if not is_open(annotation) else "it has no default"
    return Problem(key, f"missing; {what} ({kind.__name__}, {place(kind)})", missing=True)


def _made(kind: Any, given: dict[str, Any], key: str) -> Any:
    """An instance; a ValueError of its own `__post_init__` is the user's check of the values."""
    try:
        return kind(**given)
    except (ValueError, AssertionError) as error:
        raise Unfit([Problem(key, f"{kind.__name__} refuses it: {error}")]) from None
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise
        raise Unfit([Problem(key, f"{kind.__name__} can't be made from it: {error}")]) from None


def _model(kind: Any, value: dict[Any, Any], key: str) -> Any:
    """A pydantic model, checked by pydantic; keys that it would pass over are refused as well."""
    from pydantic import ValidationError

    problems = [*_ignored_keys(kind, value, key)]
    try:
        made = kind.model_validate(_with_enums(kind, value))
    except ValidationError as error:
        problems += [_model_problem(each, kind, key) for each in error.errors()]
    if problems:
        raise Unfit(problems)
    return made


def _ignored_keys(annotation: Any, value: Any, key: str) -> Iterator[Problem]:
    structured = [each for each in alternatives(annotation) if is_structure(each)]
    if len(structured) == 1 and isinstance(value, dict):
        (kind,) = structured
        known = members(kind)
        if "extra" not in getattr(kind, "model_config", {}):
            yield from _unknown_keys(value, known, key)
        for name, member in known.items():
            if name in value:
                yield from _ignored_keys(member.annotation, value[name], f"{key}.{name}")
    elif isinstance(value, (list, tuple)) and container(annotation) in SEQUENCES:
        for i, each in enumerate(value):
            yield from _ignored_keys(element(annotation, i), each, f"{key}.{i}")
    elif isinstance(value, dict) and container(annotation) in MAPPINGS:
        of_values = (typing.get_args(annotation) or (Any, Any))[1]
        for name, each in value.items():
            yield from _ignored_keys(of_values, each, f"{key}.{name}")


def _model_problem(error: Any, kind: type, key: str) -> Problem:
    where = ".".join([key, *map(str, error["loc"])])
    if error["type"] == "missing":
        return Problem(where, f"missing ({kind.__name__}, {place(kind)})", missing=True)
    message = error["msg"]
    if error["type"] in ("value_error", "assertion_error"):  # raised by a validator of the user's
        return Problem(where, f"{kind.__name__} refuses it: {message.partition(', ')[2]}")
    return Problem(where, f"{message[:1].lower()}{message[1:]}, got {shown(error['input'])}")


def _with_enums(annotation: Any, value: Any) -> Any:
    """The value with enum members where their names are: pydantic knows only their values."""
    kinds = alternatives(annotation)
    named = [each for each in kinds if is_enum(each) and value in [*each.__members__]]
    if named:
        return named[0][value]
    structured = [each for each in kinds if is_structure(each)]
    if len(structured) == 1 and isinstance(value, dict):
        known = members(structured[0]).values()
        types = {name: member.annotation for member in known for name in member.names}
        return {key: _with_enums(types.get(key, Any), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and container(annotation) in SEQUENCES:
        items = [_with_enums(element(annotation, i), item) for i, item in enumerate(value)]
        return type(value)(items)
    return value
