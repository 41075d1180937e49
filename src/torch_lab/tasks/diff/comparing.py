"""Two sides compared, kind by kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch_lab.store.record import MetricSummary
from torch_lab.store.values import encode
from torch_lab.tasks.diff.code import FileDifference, differences
from torch_lab.tasks.diff.sides import Side
from torch_lab.tasks.env import PACKAGES
from torch_lab.tasks.table import flatten

_ABSENT = object()


@dataclass(frozen=True)
class Pair:
    """One value that differs; `absent` names the sides ("a", "b") that have none."""

    key: str
    a: Any = None
    b: Any = None
    absent: str = ""


@dataclass(frozen=True)
class Section:
    """The pairs of one kind, and how many are the same; None in its place: nothing to compare."""

    pairs: tuple[Pair, ...]
    same: int


@dataclass(frozen=True)
class Comparison:
    """What differs between A and B; a section is None where a side has nothing of the kind."""

    a: Side
    b: Side
    hparams: Section | None
    facts: Section | None
    metrics: Section | None
    machine: Section | None
    packages: Section | None
    code: tuple[FileDifference, ...] | None
    same_files: int = 0


def compare(a: Side, b: Side) -> Comparison:
    """What differs between two sides."""
    code, same = (None, 0) if a.code is None or b.code is None else differences(a, b)
    hparams = _section(*_flattened(a.hparams, b.hparams))
    return Comparison(
        a,
        b,
        hparams,
        _without(hparams, _section(_given(a.facts), _given(b.facts))),
        _section(_summaries(a.metrics), _summaries(b.metrics)),
        _section(a.machine, b.machine),
        _section(_known_first(a.packages), _known_first(b.packages)),
        None if code is None else tuple(code),
        same,
    )


def _section(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> Section | None:
    if a is None or b is None:
        return None
    keys = dict.fromkeys([*a, *b])
    pairs = [_pair(key, a.get(key, _ABSENT), b.get(key, _ABSENT)) for key in keys]
    differing = tuple(pair for pair in pairs if pair is not None)
    return Section(differing, len(pairs) - len(differing))


def _pair(key: str, a: Any, b: Any) -> Pair | None:
    if a is _ABSENT or b is _ABSENT:
        absent = "a" if a is _ABSENT else "b"
        return Pair(key, None if a is _ABSENT else a, None if b is _ABSENT else b, absent)
    return None if _form(a) == _form(b) else Pair(key, a, b)


def _without(said: Section | None, section: Section | None) -> Section | None:
    """The section without the pairs that were said already: the seed, where hparams give it."""
    if said is None or section is None:
        return section
    return replace(section, pairs=tuple(pair for pair in section.pairs if pair not in said.pairs))


def _form(value: Any) -> str:
    """Equal for equal values: NaN is itself, 1 is not True, a tuple no list."""
    return json.dumps(encode(value), sort_keys=True)


def _flattened(
    *hparams: Mapping[str, Any] | None,
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Both under dotted keys; a dict that only one of them leaves empty has no value of its own."""
    a, b = (None if each is None else flatten(each) for each in hparams)
    if a is None or b is None:
        return a, b
    sections = {key.rpartition(".")[0] for key in (*a, *b)}
    return (
        {key: value for key, value in a.items() if value != {} or key not in sections},
        {key: value for key, value in b.items() if value != {} or key not in sections},
    )


def _given(facts: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if facts is None:
        return None
    return {name: value for name, value in facts.items() if value is not None}


def _summaries(
    metrics: Mapping[str, MetricSummary] | None,
) -> Mapping[str, dict[str, float]] | None:
    if metrics is None:
        return None
    return {name: vars(summary) for name, summary in metrics.items()}


def _known_first(packages: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """What decides how training goes, then the rest."""
    if packages is None:
        return None
    names = [*(name for name in PACKAGES if name in packages), *packages]
    return {name: packages[name] for name in names}
