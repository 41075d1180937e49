"""The fields of a typed config, one by one, for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch_lab.hparams.annotations import alternatives, is_structure, spelled
from torch_lab.hparams.docs import doc
from torch_lab.hparams.structures import MISSING, Member, is_instance, members, plain


@dataclass(frozen=True)
class Field:
    """One field; `default` and `value` are MISSING where there is none."""

    key: str
    type: str
    default: Any
    value: Any
    doc: str
    required: bool


def fields(kind: Any, config: Mapping[str, Any]) -> list[Field]:
    """The fields of a config's type under the keys that `--set` takes, with what is set there."""
    found = [each for each in alternatives(kind) if is_structure(each)]
    return [*_fields(found[0], config, {}, "")] if found else []


def _fields(
    kind: Any, config: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str
) -> Iterator[Field]:
    for name, member in members(kind).items():
        given = next((config[each] for each in member.names if each in config), MISSING)
        value = plain(given) if is_instance(given) else given
        default = defaults.get(name, MISSING)
        if default is MISSING:
            default = member.plain_default()
        key = f"{prefix}{name}"
        nested = _nested(member, value, default)
        if nested is None:
            yield Field(
                key, spelled(member.annotation), default, value, doc(member), member.required
            )
            continue
        header = (MISSING, MISSING, doc(member), member.required)
        yield Field(key, spelled(member.annotation), *header)
        yield from _fields(nested, _dict(value), _dict(default), f"{key}.")


def _nested(member: Member, value: Any, default: Any) -> Any:
    """The structure whose fields are to be listed in a field's place."""
    found = [each for each in alternatives(member.annotation) if is_structure(each)]
    current = default if value is MISSING else value
    if len(found) != 1 or not (isinstance(current, dict) or current is MISSING):
        return None
    return found[0]


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
