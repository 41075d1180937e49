"""Type annotations: resolved, taken apart, and put into words."""

from __future__ import annotations

import collections.abc
import sys
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal

from torch_lab.hparams.kinds import one_of

SEQUENCES = (
    list,
    tuple,
    set,
    frozenset,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
SCALARS = {
    bool: one_of("bool"),
    int: one_of("int"),
    float: one_of("float"),
    str: one_of("str"),
    NoneType: one_of("None"),
}
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")


def evaluated(annotation: Any, module: str, names: dict[str, Any] | None = None) -> Any:
    """The annotation of something defined in `module`; text where only a type checker knows it.

    `names` are looked up last: among those of a class are its fields' values.
    """
    if not isinstance(annotation, str):
        return annotation
    variables = vars(sys.modules[module]) if module in sys.modules else {}
    for known in (variables, {**(names or {}), **variables}):
        try:
            return eval(annotation, dict(known))
        except Exception:  # noqa: BLE001 - an annotation is any expression
            continue
    return annotation


def bare(annotation: Any) -> Any:
    """The annotation without what surrounds it: Annotated, Required, NewType, an alias."""
    if annotation is None:
        return NoneType
    if hasattr(annotation, "__supertype__"):
        return bare(annotation.__supertype__)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or getattr(origin, "__name__", getattr(origin, "_name", "")) in (
        _WRAPPERS
    ):
        return bare(typing.get_args(annotation)[0])
    if type(annotation).__name__ == "TypeAliasType":  # `type X = …`, since Python 3.12
        return bare(annotation.__value__)
    return annotation


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; the annotation itself where it is none."""
    annotation = bare(annotation)
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union:
        members = (alternatives(member) for member in typing.get_args(annotation))
        return tuple(each for member in members for each in member)
    return (annotation,)


def is_open(annotation: Any) -> bool:
    """Whether any value will do: nothing is said of it, or nothing that can be checked."""
    return annotation in (Any, object) or isinstance(annotation, (str, typing.TypeVar))


def is_structure(annotation: Any) -> bool:
    """Whether it has named fields: a dataclass, a pydantic model or a TypedDict."""
    if not isinstance(annotation, type):
        return False
    return is_dataclass(annotation) or is_model(annotation) or typing.is_typeddict(annotation)


def is_model(annotation: type) -> bool:
    """Whether it is a pydantic model; whoever has one has imported pydantic."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(annotation, pydantic.BaseModel)


def is_enum(annotation: Any) -> bool:
    """Whether it is an enum."""
    return isinstance(annotation, type) and issubclass(annotation, Enum)


def is_path(annotation: Any) -> bool:
    """Whether it is a kind of path."""
    return isinstance(annotation, type) and issubclass(annotation, PurePath)


def container(annotation: Any) -> Any:
    """list, tuple, dict and the like, of elements or bare; None for everything else."""
    origin = typing.get_origin(annotation) or annotation
    return origin if origin in (*SEQUENCES, *MAPPINGS) else None


def name_of(member: Enum) -> str:
    """An enum member's value where that is a text which means it alone, else its name."""
    kind = type(member)
    value = member.value
    if isinstance(value, str) and kind.__members__.get(value, member) is member:
        return str(value)
    return member.name


def options(annotation: Any) -> tuple[str, ...]:
    """What a Literal or an enum can be given as."""
    if is_enum(annotation):
        return tuple(map(name_of, annotation))
    if typing.get_origin(annotation) is Literal:
        return tuple(map(str, typing.get_args(annotation)))
    return ()


def spelled(annotation: Any) -> str:
    """The annotation as one writes it, without the modules."""
    members = alternatives(annotation)
    if len(members) > 1:
        return " | ".join(map(spelled, members))
    (annotation,) = members
    if annotation is NoneType:
        return "None"
    if isinstance(annotation, str) or annotation is Ellipsis:
        return "..." if annotation is Ellipsis else annotation
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    name = getattr(origin or annotation, "__name__", None) or str(annotation)
    if not arguments:
        return name
    return f"{name}[{', '.join(map(_spelled_argument, arguments))}]"


def _spelled_argument(argument: Any) -> str:
    if isinstance(argument, list):  # of a Callable
        return f"[{', '.join(map(spelled, argument))}]"
    return spelled(argument)


def expected(annotation: Any, *, as_text: bool = False) -> str:
    """What the annotation asks for, in words; `as_text`: of a word on the command line."""
    *first, last = dict.fromkeys(_expectations(annotation, as_text))
    return f"{', '.join(first)} or {last}" if first else last


def _expectations(annotation: Any, as_text: bool) -> Iterator[str]:
    members = alternatives(annotation)
    if as_text and len(members) > 1:  # `none` is not what one is after
        members = tuple(each for each in members if each is not NoneType)
    for member in members:
        if is_enum(member):
            yield from (f'"{option}"' for option in options(member))
        elif typing.get_origin(member) is Literal:
            yield from (_quoted(option) for option in typing.get_args(member))
        elif member is bool and as_text:
            yield "true or false"
        elif member in SCALARS:
            yield SCALARS[member].expected
        else:
            yield _expected_object(member)


def _quoted(option: object) -> str:
    return f'"{option}"' if isinstance(option, str) else str(option)


def _expected_object(annotation: Any) -> str:
    if is_path(annotation):
        return "a path"
    if is_structure(annotation):
        return f"a dict for {annotation.__name__}"
    arguments = typing.get_args(annotation)
    kind = container(annotation)
    if kind is tuple and arguments and Ellipsis not in arguments:
        return f"a tuple of {len(arguments)}"
    if kind in SEQUENCES:
        return f"a {kind.__name__}" if isinstance(kind, type) and kind in (tuple, set) else "a list"
    if kind in MAPPINGS:
        return "a dict"
    if (typing.get_origin(annotation) or annotation) is collections.abc.Callable:
        return "a callable"
    name = spelled(annotation)
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
