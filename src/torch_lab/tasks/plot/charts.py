"""Which metrics are drawn, and which of them share a chart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch_lab.errors import UsageError
from torch_lab.tasks.plot.curves import Curve
from torch_lab.utils.metric_names import is_variant
from torch_lab.utils.text import suggestion

_STAGE = r"train(?:ing)?|val(?:id(?:at(?:e|ion))?)?|test(?:ing)?"
_VARIANT = r"(?:_(?:step|epoch))?"
# loss/train, loss/train_step; train_loss, val/loss; accuracy (train)/cats.
_AFTER = re.compile(rf"(?P<base>.+)[/_](?P<part>(?:{_STAGE}){_VARIANT})", re.IGNORECASE)
_BEFORE = re.compile(rf"(?P<stage>{_STAGE})[/_](?P<base>.+?)(?P<variant>{_VARIANT})", re.IGNORECASE)
_INSIDE = re.compile(rf"(?P<base>.+) \((?P<part>(?:{_STAGE}))\)(?P<rest>/.+)", re.IGNORECASE)
# Logged beside what a run is judged by: drawn last.
_SIDE = re.compile(r"(lr|learning_rate|momentum|memory|machine|grad|time)\b.*", re.IGNORECASE)
_FEW = 3  # values of an epoch's mean that make no curve yet: its steps are shown too


@dataclass(frozen=True)
class Part:
    """One metric of a chart: its `label` there, how it is drawn, whether it is at once."""

    metric: str
    label: str
    role: str
    shown: bool = True


@dataclass(frozen=True)
class Chart:
    """The metrics that are drawn over each other: a loss in training and in validation."""

    title: str
    parts: tuple[Part, ...]


def charts(
    drawn: Sequence[Mapping[str, Curve]], patterns: Sequence[str] = (), main: str | None = None
) -> list[Chart]:
    """The charts of runs' curves; that of the metric `main` comes first."""
    names = list(dict.fromkeys(name for curves in drawn for name in curves))
    grouped: dict[str, list[str]] = {}
    for name in chosen(names, patterns):
        grouped.setdefault(split(name)[0], []).append(name)
    first = split(main)[0] if main is not None else None

    def place(base: str) -> tuple[bool, bool, bool, str]:
        return base != first, bool(_SIDE.match(base)), "loss" not in base.lower(), base

    ordered = sorted(grouped, key=place)
    return [Chart(base, _parts(grouped[base], drawn)) for base in ordered]


def chosen(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The metrics that the patterns name, of all those there are; without any, nearly all."""
    if not patterns:
        return [name for name in names if name != "epoch"]
    for pattern in patterns:
        if not _matching(names, pattern):
            raise UsageError(f"no metric is like {pattern!r}", hint=suggestion(pattern, names))
    found = {name for pattern in patterns for name in _matching(names, pattern)}
    return [name for name in names if name in found]


def _matching(names: Iterable[str], pattern: str) -> list[str]:
    """A name as it is, which may hold what patterns are made of, or else all that are like it."""
    known = list(names)
    return [pattern] if pattern in known else [n for n in known if fnmatchcase(n, pattern)]


def split(name: str) -> tuple[str, str]:
    """What a metric measures, and where: `loss/train` is ("loss", "train")."""
    if found := _INSIDE.fullmatch(name):
        return f"{found['base']}{found['rest']}", found["part"]
    if found := _AFTER.fullmatch(name):
        return found["base"], found["part"]
    if found := _BEFORE.fullmatch(name):
        return found["base"], f"{found['stage']}{found['variant']}"
    return name, ""


def role_of(part: str) -> str:
    """How a part is drawn: what training, validation, a test or anything else says."""
    word = part.lower()
    if word.endswith("_step"):
        return "step"
    for role in ("train", "val", "test"):
        if word.startswith(role):
            return role
    return "other"


def _parts(names: Sequence[str], drawn: Sequence[Mapping[str, Curve]]) -> tuple[Part, ...]:
    labels = [split(name)[1] or name for name in names]
    unique = len(set(labels)) == len(labels)
    order = ("train", "val", "test", "other", "step")
    parts = [
        Part(name, label if unique else name, role_of(split(name)[1]), _shown(name, names, drawn))
        for name, label in zip(names, labels, strict=True)
    ]
    return tuple(sorted(parts, key=lambda part: order.index(part.role)))


def _shown(name: str, names: Sequence[str], drawn: Sequence[Mapping[str, Curve]]) -> bool:
    """Not what Lightning keeps beside a metric, unless that has no curve to speak of."""
    if not is_variant(name, names):
        return True
    base = name.rpartition("_")[0]
    longest = max((len(curves[base].value) for curves in drawn if base in curves), default=0)
    return name.endswith("_step") and longest < _FEW
