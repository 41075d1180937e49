"""Runs that have something in common, as those of one learning rate and several seeds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.store.find import StoredRun
from torch_lab.tasks.runs.filters import in_order
from torch_lab.tasks.runs.judging import (
    common_metric,
    contenders,
    mode_of,
    require_metric,
    scored,
    usual_metric,
)
from torch_lab.tasks.runs.meaning import require_known, value_of
from torch_lab.tasks.runs.table import shown
from torch_lab.tasks.table import MISSING, layout, number, plain
from torch_lab.utils.text import suggestion

ALL = "hparams"  # what is the same but for the seed
_HPARAMS = "hparams."
_APART = ("hparams.seed", "hparams.task.", "hparams.checkpoint.")
_FIGURES = ("runs", "mean", "std", "best")
_WORDS = {"min": "least", "max": "greatest"}


@dataclass(frozen=True)
class Group:
    """Runs with the same values; `scores` are the best ones that each reached of the metric."""

    values: Mapping[str, Any]
    runs: tuple[StoredRun, ...]
    scores: tuple[float, ...] = ()
    best_run: StoredRun | None = None

    @property
    def best(self) -> float | None:
        """The best score."""
        return self.scores[0] if self.scores else None

    @property
    def mean(self) -> float | None:
        """The mean score."""
        return sum(self.scores) / len(self.scores) if self.scores else None

    @property
    def std(self) -> float | None:
        """By how much the scores of such runs scatter, as far as these tell: n - 1 below."""
        from statistics import stdev  # slow to import

        finite = all(map(math.isfinite, self.scores))
        return stdev(self.scores) if finite and len(self.scores) > 1 else None

    def value(self, key: str) -> Any:
        """A figure or a value that the runs have in common."""
        figure = {"runs": len(self.runs), "mean": self.mean, "std": self.std, "best": self.best}
        return figure[key] if key in figure else self.values[key]


@dataclass(frozen=True)
class Groups:
    """Groups, and the metric that they are judged by."""

    groups: tuple[Group, ...]
    metric: str
    mode: str

    def table(self, *, width: int | None = None) -> str:
        """One line a group."""
        keys = list(self.groups[0].values) if self.groups else []
        header = [*keys, "runs", "mean", "std", "best", "best run"]
        lines = layout([header, *(_cells(group) for group in self.groups)], width=width)
        what = f"{self.metric}: the {_WORDS[self.mode]} of each run"
        return "\n".join([what, *("  ".join(line).rstrip() for line in lines)]) + "\n"

    def as_data(self) -> list[dict[str, Any]]:
        """The groups for `--json`."""
        return [
            {
                "group": plain(group.values),
                "metric": self.metric,
                "mode": self.mode,
                **{key: plain(group.value(key)) for key in _FIGURES},
                "with_metric": len(group.scores),
                "best_run": group.best_run and group.best_run.brief.name,
                "names": [run.brief.name for run in group.runs],
            }
            for group in self.groups
        ]


def grouped(
    runs: Sequence[StoredRun],
    keys: Sequence[str],
    *,
    metric: str | None = None,
    mode: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
) -> Groups:
    """The runs by their values of these keys, the group with the best mean first."""
    runs = contenders(runs)
    parts = split(runs, keys)
    metric = metric or common_metric(runs)
    if metric is None:
        raise UsageError(
            "these runs are judged by different metrics, or by none",
            hint=f"name one: --best {usual_metric(runs) or 'METRIC'}",
        )
    require_metric(metric, runs)
    mode = mode or mode_of(runs, metric)
    found = [_judged(group, metric, mode) for group in parts]
    return Groups(tuple(_sorted(found, sort, mode)[:limit]), metric, mode)


def _sorted(groups: Sequence[Group], sort: str | None, mode: str) -> list[Group]:
    if sort is None:
        return in_order(groups, lambda group: group.mean, falling=mode == "max")
    key = sort.removeprefix("-")
    known = (*groups[0].values, *_FIGURES) if groups else (key,)
    if key not in known:
        raise UsageError(f"no group has a {key!r}", hint=suggestion(key, known))
    return in_order(groups, lambda group: group.value(key), falling=sort.startswith("-"))


def _judged(group: Group, metric: str, mode: str) -> Group:
    found = scored(group.runs, metric, mode)
    scores = tuple(score for score, _ in found)
    return Group(group.values, group.runs, scores, found[0][1] if found else None)


def group_keys(text: str) -> list[str]:
    """The keys of `--group-by KEY,…`."""
    return [key for word in text.split(",") if (key := word.strip())]


def split(runs: Sequence[StoredRun], keys: Sequence[str]) -> list[Group]:
    """The runs by their values, unjudged, in the order in which their newest runs come."""
    for key in keys:
        if key != ALL:
            require_known(key, runs)
    if ALL in keys and len({run.brief.experiment for run in runs}) > 1:
        keys = ["experiment", *keys]  # other code with equal values is not the same
    told = _told_apart_by_experiment(runs) if ALL in keys else {}
    found: dict[tuple[str, ...], tuple[dict[str, Any], list[StoredRun]]] = {}
    for run in runs:
        values = {
            key: _alike(run, told[run.brief.experiment]) if key == ALL else value_of(run, key)
            for key in dict.fromkeys(keys)
        }
        same = tuple(_same(value) for value in values.values())
        found.setdefault(same, (values, []))[1].append(run)
    return [Group(values, tuple(members)) for values, members in found.values()]


def _told_apart_by_experiment(runs: Sequence[StoredRun]) -> dict[str, dict[str, str]]:
    members: dict[str, list[StoredRun]] = {}
    for run in runs:
        members.setdefault(run.brief.experiment, []).append(run)
    return {name: _told_apart(each) for name, each in members.items()}


def _told_apart(runs: Sequence[StoredRun]) -> dict[str, str]:
    """What tells these runs apart, but for the seed: keys, with names as short as will do."""
    names = dict.fromkeys(key for run in runs for key in run.facts.shape.keys)
    wanted = [n for n in names if n.startswith(_HPARAMS) and not n.startswith(_APART)]
    found = [n for n in wanted if len({_same(run.facts.exactly(n)) for run in runs}) > 1]
    last = {name: name.rpartition(".")[2] for name in found}
    count = Counter(last.values())
    return {name: last[name] if count[last[name]] == 1 else _set(name) for name in found}


def _set(key: str) -> str:
    """A key as `--set` takes it."""
    return key.removeprefix(_HPARAMS).removeprefix("config.")


def _alike(run: StoredRun, told: Mapping[str, str]) -> str:
    """A run's values of these, in a few words."""
    words = [f"{name}={shown(run.facts.exactly(key))}" for key, name in told.items()]
    return " ".join(words) or "all alike"


def _same(value: Any) -> str:
    """Equal for values that are the same; 1 and 1.0 are."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return repr(float(value) if number and abs(value) < 2**53 else value)


def _cells(group: Group) -> list[str]:
    count, reached = len(group.runs), len(group.scores)
    return [
        *map(shown, group.values.values()),
        str(count) if reached == count else f"{reached} of {count}",
        *(number(value) for value in (group.mean, group.std, group.best)),
        MISSING if group.best_run is None else group.best_run.brief.name,
    ]
