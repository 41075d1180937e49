"""A config with a type: checked, made to an instance, and changed by `--set`."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch_lab.errors import HparamsError
from torch_lab.hparams.annotations import (
    MAPPINGS,
    SEQUENCES,
    alternatives,
    container,
    is_open,
    is_structure,
    spelled,
)
from torch_lab.hparams.converting import Unfit, convert, element
from torch_lab.hparams.kinds import literals
from torch_lab.hparams.reading import read_like
from torch_lab.hparams.structures import MISSING, is_instance, members, plain
from torch_lab.hparams.words import from_text
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.text import shown, suggestion


def instance(kind: Any, config: dict[str, Any], source: str) -> Any:
    """The config as an instance of its type, which shares nothing with it."""
    try:
        return convert(kind, plain_copy(config), "config")
    except Unfit as unfit:
        raise HparamsError(source, list(map(str, unfit.problems))) from None


def resolved(
    kind: Any, config: dict[str, Any], problems: list[str], awaited: Collection[str] = ()
) -> dict[str, Any]:
    """The config with the defaults of its type; what is wrong with it goes to `problems`.

    A field that lacks a value is none of them where one of the `awaited` keys will give it.
    """
    try:
        made: dict[str, Any] = plain(convert(kind, plain_copy(config), "config"))
        return made
    except Unfit as unfit:
        problems += [
            str(problem)
            for problem in unfit.problems
            if not (problem.missing and _covers(problem.key, awaited))
        ]
        return config


def _covers(key: str, awaited: Collection[str]) -> bool:
    return any(each == key or each.startswith(f"{key}.") for each in awaited)


def has_field(kind: Any, name: str) -> bool:
    """Whether the type of a config has a field of that name."""
    return any(name in members(each) for each in alternatives(kind) if is_structure(each))


def assign(
    kind: Any, config: dict[str, Any], words: Sequence[str], text: str, meant: Sequence[str] = ()
) -> None:
    """Set the value that `words` lead to, as the types say; ValueError tells what is wrong.

    `meant` are more names that an unknown first word may have been meant as.
    """
    _set(kind, config, words, lambda place: _read(place, text), meant)


def put(
    kind: Any, config: dict[str, Any], words: Sequence[str], value: Any, meant: Sequence[str] = ()
) -> None:
    """The same with a value of Python's, which is checked only as the whole config is."""
    _set(kind, config, words, lambda _: plain_copy(value), meant)


def _set(
    kind: Any,
    config: dict[str, Any],
    words: Sequence[str],
    give: Callable[[_Place], Any],
    meant: Sequence[str],
) -> None:
    holder: dict[str, Any] = {"config": config}
    _assign(_Place(holder, "config", kind, ("config",), "config", meant), words, give)
    whole = plain(holder["config"])
    if not isinstance(whole, dict):
        raise ValueError(f"expected a dict, got {shown(whole)}")
    if holder["config"] is not config:
        config.clear()
        config.update(whole)


class _Place:
    """A value inside a config: what holds it, by which key, and what its type says."""

    def __init__(
        self,
        holder: Any,
        key: Any,
        annotation: Any,
        done: tuple[str, ...],
        named: str,
        meant: Sequence[str] = (),
    ) -> None:
        self.holder, self.key, self.annotation = holder, key, annotation
        self.done, self.named, self.meant = done, named, meant

    @property
    def where(self) -> str:
        return ".".join(self.done)

    @property
    def value(self) -> Any:
        if isinstance(self.holder, dict) and self.key not in self.holder:
            return MISSING
        return self.holder[self.key]


def _assign(place: _Place, words: Sequence[str], give: Callable[[_Place], Any]) -> None:
    if not words:
        place.holder[place.key] = give(place)
        return
    value = place.value
    if is_instance(value):
        place.holder[place.key] = value = plain(value)
    structure = _structure(place.annotation, value, words[0])
    if structure is not None:
        _assign_field(place, structure, words, give)
    else:
        _assign_element(place, words, give)


def _structure(annotation: Any, value: Any, word: str) -> Any:
    """Of the structures that a value may be, the one it is, else one with such a field."""
    found = [each for each in alternatives(annotation) if is_structure(each)]
    if len(found) < 2:
        return found[0] if found else None
    fitting = (each for each in found if value is not MISSING and _fits(each, value))
    named = (each for each in found if word in members(each))
    return next(fitting, None) or next(named, found[0])


def _fits(annotation: Any, value: Any) -> bool:
    try:
        convert(annotation, plain_copy(value), "")
    except Unfit:
        return False
    return True


def _assign_field(
    place: _Place, structure: Any, words: Sequence[str], give: Callable[[_Place], Any]
) -> None:
    word, *rest = words
    known = members(structure)
    names = {name: member for member in known.values() for name in member.names}
    if word not in names:
        raise ValueError(f"{place.where} has no {word}; {suggestion(word, [*names, *place.meant])}")
    if not isinstance(place.value, dict):
        place.holder[place.key] = {}
    holder = place.value
    member = names[word]
    for other in set(member.names) & holder.keys() - {word}:  # aliases of the same field
        holder[word] = holder.pop(other)
    default = member.plain_default()
    if rest and word not in holder and default is not MISSING:
        holder[word] = default
    named = f"{structure.__name__}.{member.name}: {spelled(member.annotation)}"
    _assign(_Place(holder, word, member.annotation, (*place.done, word), named), rest, give)


def _assign_element(place: _Place, words: Sequence[str], give: Callable[[_Place], Any]) -> None:
    """Below a list or a dict: what is there already can be set."""
    word, *rest = words
    value = place.value
    if isinstance(value, tuple) and not is_open(place.annotation):  # made a tuple again later
        place.holder[place.key] = value = list(value)
    key, annotation = _element(place, value, word)
    if key is MISSING:
        has = f"; {suggestion(word, value)}" if isinstance(value, dict) else ""
        raise ValueError(f"{place.where} has no {word}{has}")
    _assign(_Place(value, key, annotation, (*place.done, word), place.named), rest, give)


def _element(place: _Place, value: Any, word: str) -> tuple[Any, Any]:
    """The key that a word means in a list or a dict, and the type of what is there."""
    kinds = [each for each in alternatives(place.annotation) if container(each) is not None]
    if isinstance(value, list):
        fitting = [each for each in kinds if container(each) in SEQUENCES]
        known = word.isdecimal() and int(word) < len(value)
        annotation = element(fitting[0], int(word)) if fitting and known else Any
        return (int(word) if known else MISSING), annotation
    if isinstance(value, dict):
        fitting = [each for each in kinds if container(each) in MAPPINGS]
        annotation = _of_values(fitting[0]) if fitting else Any
        keys = [word, *([int(word)] if word.isdecimal() else [])]
        return next((key for key in keys if key in value), MISSING), annotation
    return MISSING, Any


def _of_values(annotation: Any) -> Any:
    arguments: tuple[Any, ...] = typing.get_args(annotation)
    return arguments[1] if len(arguments) == 2 else Any


def _read(place: _Place, text: str) -> Any:
    """The value in its plain form, so that it can be changed further."""
    if all(is_open(each) for each in alternatives(place.annotation)):
        return _read_open(place.value, text)
    try:
        return plain(from_text(place.annotation, text, place.where))
    except Unfit as unfit:
        reasons = [
            problem.text if problem.key == place.where else str(problem)
            for problem in unfit.problems
        ]
        raise ValueError(f"{'; '.join(reasons)} ({place.named})") from None


def _read_open(old: Any, text: str) -> Any:
    """Where nothing is said of the type: like the value that is there, as in an untyped config."""
    if old is MISSING:
        return next(iter(literals(text)), text)
    return read_like(old, text)
