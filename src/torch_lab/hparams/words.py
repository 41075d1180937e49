"""Words of a command line read as type annotations ask for."""

from __future__ import annotations

import typing
from enum import Enum
from types import NoneType
from typing import Any, Literal

from torch_lab.hparams.annotations import (
    SEQUENCES,
    alternatives,
    container,
    is_enum,
    is_open,
    is_path,
    is_structure,
)
from torch_lab.hparams.converting import Unfit, convert, element, instance_of, nearest_refusal
from torch_lab.hparams.kinds import literals

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True} | {
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def from_text(annotation: Any, text: str, key: str) -> Any:
    """What a word on the command line means for the annotation, or Unfit."""
    members_ = alternatives(annotation)
    if len(members_) > 1:
        return _first_reading(annotation, members_, text, key)
    (annotation,) = members_
    if is_open(annotation):
        return text
    if is_structure(annotation) or container(annotation) is not None:
        return _read_parts(annotation, text, key)
    try:
        return _read(annotation, text)
    except (TypeError, ValueError, LookupError, OverflowError):
        raise Unfit.word(annotation, text, key) from None


def _first_reading(annotation: Any, members_: tuple[Any, ...], text: str, key: str) -> Any:
    """Text is what everything can be, so that it comes last."""
    refusals = []
    for member in sorted(members_, key=lambda each: each is str or is_path(each)):
        try:
            return from_text(member, text, key)
        except Unfit as unfit:
            refusals.append((member, unfit))
    found = literals(text)
    raise nearest_refusal(refusals, found[0] if found else text) or Unfit.word(
        annotation, text, key
    )


def _read(annotation: Any, text: str) -> Any:
    if annotation is str:
        return text
    if annotation is bool:
        return _BOOLEANS[text.lower()]
    if annotation is int:
        return _integer(text)
    if annotation is float:
        return float(text)
    if annotation is NoneType:
        return {"none": None}[text.lower()]
    if is_path(annotation):
        return annotation(text)
    choices = _choices(annotation)
    if choices is not None:
        return choices[text]
    for value in literals(text):
        return instance_of(annotation, value)
    raise ValueError


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _choices(annotation: Any) -> dict[str, Any] | None:
    """The members of an enum or a Literal by what may be typed for them."""
    if is_enum(annotation):
        by_value = {str(member.value): member for member in reversed(list(annotation))}
        return by_value | dict(annotation.__members__)
    if typing.get_origin(annotation) is Literal:
        given = typing.get_args(annotation)
        return {each.name if isinstance(each, Enum) else str(each): each for each in given}
    return None


def _read_parts(annotation: Any, text: str, key: str) -> Any:
    """A literal for anything with parts; `a,b,c` for a list as well."""
    found = literals(text)
    if found and isinstance(found[0], (list, tuple, dict, set)):
        return convert(annotation, found[0], key)
    if container(annotation) not in SEQUENCES or text.strip()[:1] in ("[", "(", "{"):
        raise Unfit.word(annotation, text, key)
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    parts = [from_text(element(annotation, i), word, key) for i, word in enumerate(words)]
    # As found in a literal: the number of parts is checked like any other value's.
    return convert(annotation, parts, key)
