"""What has named fields: dataclasses, pydantic models, TypedDicts, seen alike."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch_lab.hparams.annotations import evaluated, is_model, name_of
from torch_lab.utils.paths import display

MISSING = object()


@dataclass(frozen=True)
class Member:
    """One field; `names` are those that a dict may give it by, the usual one first."""

    name: str
    annotation: Any
    default: Callable[[], Any] | None  # None: it has to be given
    names: tuple[str, ...]
    owner: type
    doc: str = ""

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is None

    def plain_default(self) -> Any:
        """The default as plain data; MISSING where there is none, or it can't be known yet."""
        if self.default is None:
            return MISSING
        try:
            return plain(self.default())
        except Exception:  # noqa: BLE001 - a default factory is the user's code
            return MISSING


def members(kind: type) -> dict[str, Member]:
    """The fields that a value of this type is made of, by the name a dict gives them."""
    if is_model(kind):
        found = _model_members(kind)
    elif typing.is_typeddict(kind):
        found = _typed_dict_members(kind)
    else:
        found = _dataclass_members(kind)
    return {member.names[0]: member for member in found}


def _dataclass_members(kind: Any) -> list[Member]:
    annotations = _annotations(kind)
    found = []
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        annotation, owner = annotations.get(field.name, (field.type, kind))
        metadata = (field.metadata.get(key) for key in ("help", "doc", "description"))
        doc = next((text for text in metadata if isinstance(text, str)), "")
        default = _dataclass_default(field)
        found.append(Member(field.name, annotation, default, (field.name,), owner, doc))
    return found


def _dataclass_default(field: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if field.default is not dataclasses.MISSING:
        value = field.default
        return lambda: value
    return None if field.default_factory is dataclasses.MISSING else field.default_factory


def _model_members(kind: Any) -> list[Member]:
    annotations = _annotations(kind)
    return [
        Member(
            name=name,
            annotation=info.annotation,
            default=None if info.is_required() else _model_default(info),
            names=_model_names(kind, name, info),
            owner=annotations.get(name, (None, kind))[1],
            doc=info.description or "",
        )
        for name, info in kind.model_fields.items()
    ]


def _model_default(info: Any) -> Callable[[], Any]:
    return lambda: info.get_default(call_default_factory=True)


def _model_names(kind: Any, name: str, info: Any) -> tuple[str, ...]:
    """What pydantic takes a field by: its alias where it has one, and its name if that is on."""
    alias = info.validation_alias
    choices = getattr(alias, "choices", [alias])
    aliases = [each for each in choices if isinstance(each, str)]
    config = kind.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    return (*aliases, *([name] if by_name or not aliases else []))


def _typed_dict_members(kind: Any) -> list[Member]:
    found = []
    for name, (annotation, owner) in _annotations(kind).items():
        default = None if _is_required(annotation, name, kind) else _absent
        found.append(Member(name, annotation, default, (name,), owner))
    return found


def _is_required(annotation: Any, name: str, kind: Any) -> bool:
    """Of a TypedDict; its `__required_keys__` pass over a mark that is text."""
    marks = (typing.Required, typing.NotRequired)
    while typing.get_origin(annotation) not in marks and typing.get_args(annotation):
        annotation = typing.get_args(annotation)[0]
    mark = typing.get_origin(annotation)
    return mark is typing.Required if mark in marks else name in kind.__required_keys__


def _absent() -> Any:
    return MISSING


def _annotations(kind: Any) -> dict[str, tuple[Any, type]]:
    """The annotations of a class and its bases, each evaluated where it was written."""
    found = {}
    for base in reversed(kind.__mro__):
        for name, annotation in _own_annotations(base).items():
            # A TypedDict has those of its bases too, text as a ForwardRef.
            text = getattr(annotation, "__forward_arg__", annotation)
            module = getattr(annotation, "__forward_module__", None) or base.__module__
            found[name] = (evaluated(text, module, dict(vars(base))), base)
    return found


def _own_annotations(kind: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(kind)
    except NameError:  # since Python 3.14: one of them exists for type checkers only
        return {}


def plain(value: Any) -> Any:
    """Structures as dicts, enums by what they can be given as; the rest as it is."""
    if isinstance(value, Enum):
        return name_of(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.init]
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if is_model(type(value)):
        return {key: plain(getattr(value, m.name)) for key, m in members(type(value)).items()}
    if type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(plain(item) for item in value)
    return value


def is_instance(value: object) -> bool:
    """Whether a value is a dataclass' or a pydantic model's instance."""
    if isinstance(value, type):
        return False
    return dataclasses.is_dataclass(value) or is_model(type(value))


def place(kind: type) -> str:
    """The file and line of a class, for messages; its module where there is no source."""
    try:
        file, line = inspect.getsourcefile(kind), inspect.getsourcelines(kind)[1]
    except (OSError, TypeError):  # made by a call, or typed in
        file, line = None, 0
    return f"{display(file)}:{line}" if file else f"module {kind.__module__}"
