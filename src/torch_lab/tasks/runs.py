"""`lab runs`: the runs there are, filtered, sorted, as a table or as data."""

from __future__ import annotations

import math
import operator
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import filterfalse
from pathlib import PurePath
from typing import Any, Protocol

from torch_lab.errors import UsageError
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.store.record import QUEUED, MetricSummary, Record
from torch_lab.tasks.table import (
    MISSING,
    colored_status,
    flatten,
    layout,
    moment,
    number,
    plain,
    rough,
)
from torch_lab.utils.metric_names import USUAL_MONITORS
from torch_lab.utils.text import plural, suggestion

_FILTER = re.compile(r"(?P<key>[^=<>!~]+)(?P<sign>!=|<=|>=|==|=|<|>|~)(?P<value>.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIMES = ("created", "started", "ended")
_LIVE = ("starting", "running")
_VALIDATION = re.compile(r"(?<![a-z])e?val(?!ue)", re.IGNORECASE)
# What is logged beside the metrics: no run is judged by it.
_SIDE = re.compile(
    r"(lr|learning_rate)([-/_].*)?|momentum|memory/.*|epoch|(.*[_/])?step", re.IGNORECASE
)
_RISING = re.compile(r"acc|f1|auroc|auc|precision|recall|iou|dice|r2|map\b", re.IGNORECASE)


def told(runs: Sequence[StoredRun], *, again: bool = False) -> list[StoredRun]:
    """The runs, those that wait in a queue with what the ClearML server says of them by now."""
    if not any(run.status == QUEUED for run in runs):
        return list(runs)
    from torch_lab.tasks.queue_status import as_the_server_says

    return as_the_server_says(runs, again=again)


class Condition(Protocol):
    """What a run is asked for."""

    @property
    def key(self) -> str:
        """Whose value it looks at."""

    def accepts(self, run: StoredRun) -> bool:
        """Whether a run meets it."""


@dataclass(frozen=True)
class Filter:
    """One condition: `lr<1e-3`."""

    key: str
    sign: str
    value: str

    def accepts(self, run: StoredRun) -> bool:
        """Whether a run meets it; a run without such a value meets only `!=`."""
        values = values_of(run, self.key)
        if self.sign == "!=":
            return not any(_equal(value, self.value) for value in values)
        return any(self._compare(value) for value in values)

    def _compare(self, value: Any) -> bool:
        if self.sign in ("=", "=="):
            return _equal(value, self.value)
        if self.sign == "~":
            return self.value.casefold() in str(value).casefold()
        pair = _comparable(value, self.value)
        return pair is not None and _ORDERS[self.sign](*pair)


def parse_filter(text: str) -> Filter:
    """A condition as it was typed."""
    found = _FILTER.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no filter",
            hint=f"write KEY=VALUE, or KEY with <, <=, >, >=, != or ~ (contains): name~{text}",
        )
    return Filter(found["key"].strip(), found["sign"], found["value"].strip())


def select(
    runs: Sequence[StoredRun],
    filters: Sequence[Condition] = (),
    *,
    sort: str | None = None,
    limit: int | None = None,
) -> list[StoredRun]:
    """The runs that meet all conditions, newest first or by a key (`-KEY`: greatest first)."""
    for condition in filters:
        _require_known(condition.key, runs)
    chosen = [run for run in runs if all(condition.accepts(run) for condition in filters)]
    if sort is not None:
        key = sort.removeprefix("-")
        _require_known(key, runs)
        chosen = _sorted(chosen, key, falling=sort.startswith("-"))
    return chosen[:limit]


def table(
    runs: Sequence[StoredRun],
    keys: Iterable[str] = (),
    *,
    width: int | None = None,
    color: bool = False,
    now: float | None = None,
) -> str:
    """One line a run; `keys` are shown as columns of their own."""
    now = time.time() if now is None else now
    metric = _common_metric(runs)
    special = {"name", "id", "status", metric}
    extra = [key for key in dict.fromkeys(keys) if key not in special]
    header = ["name", "id", "status", *extra, metric or "metric", "best", "duration", "age"]
    rows = [header, *(_row(run, extra, metric, now) for run in runs)]
    lines = layout(rows, width=width)
    if color:
        for line in lines[1:]:
            line[2:3] = [colored_status(cell) for cell in line[2:3]]
    return "\n".join("  ".join(line).rstrip() for line in lines) + "\n"


def as_data(runs: Sequence[StoredRun], now: float | None = None) -> list[dict[str, Any]]:
    """The runs for `--json`: the record's keys, the status as readers see it, the directory."""
    now = time.time() if now is None else now
    return [run_data(run, now) for run in runs]


def run_data(run: StoredRun, now: float) -> dict[str, Any]:
    """One run for `--json`."""
    data: dict[str, Any] = plain(run.record)
    extra = data.pop("extra", {})
    own: dict[str, Any] = {"status": run.status, "duration": duration(run, now)}
    if run.where != "local":
        own["where"] = run.where
    directory = None if run.where == "server" else str(run.directory.path)
    return {**data, **own, "directory": directory, **extra}


def duration(run: StoredRun, now: float) -> float | None:
    """How long the run took, or takes by now; unknown for one that was lost."""
    record = run.record
    if record.started is None:
        return None
    end = now if run.status in _LIVE else record.ended
    return None if end is None else max(end - record.started, 0.0)


def values_of(run: StoredRun, key: str) -> tuple[Any, ...]:
    """What a key means for a run: a field, a metric's last value, a hyperparameter."""
    record = run.record
    if key in _FIELDS:
        return tuple(value for value in _FIELDS[key](run) if value is not None)
    if key in record.metrics:
        return (record.metrics[key].last,)
    flat = flatten(record.hparams)
    for name in (key, f"config.{key}"):
        if name in flat:
            return (flat[name],)
    ends = sorted((name for name in flat if name.endswith(f".{key}")), key=lambda n: n.count("."))
    return (flat[ends[0]],) if ends else ()


def _script_names(run: StoredRun) -> tuple[str, ...]:
    path = PurePath(run.record.script)
    return (path.stem, path.name, run.record.script)


def _time_names(key: str) -> Callable[[StoredRun], tuple[Any, ...]]:
    def values(run: StoredRun) -> tuple[Any, ...]:
        seconds = getattr(run.record, key)
        return () if seconds is None else (moment(seconds),)

    return values


_FIELDS: dict[str, Callable[[StoredRun], tuple[Any, ...]]] = {
    "name": lambda run: (run.record.name,),
    "id": lambda run: (run.record.id,),
    "status": lambda run: (run.status,),
    "reason": lambda run: (run.record.reason,),
    "experiment": lambda run: (run.record.experiment,),
    "script": _script_names,
    "host": lambda run: (run.record.host,),
    "where": lambda run: (run.where,),
    "project": lambda run: (run.project or find.project_of(run.record),),
    "seed": lambda run: (run.record.seed,),
    "dev_run": lambda run: (run.record.dev_run,),
    "parent": lambda run: (
        (run.record.parent.name, run.record.parent.id) if run.record.parent else ()
    ),
    "duration": lambda run: (duration(run, time.time()),),
    "batch": lambda run: (run.record.progress.batch,),
    "step": lambda run: (run.record.progress.step,),
    "epoch": lambda run: (run.record.progress.epoch,),
    **{key: _time_names(key) for key in _TIMES},
}


def _known_keys(runs: Sequence[StoredRun]) -> list[str]:
    """Metrics first, which are what one looks for most; then fields and hyperparameters."""
    metrics = sorted({name for run in runs for name in run.record.metrics})
    names = sorted({name for run in runs for name in flatten(run.record.hparams)})
    short = [part for n in names for part in (n.removeprefix("config."), n.rpartition(".")[2])]
    return [*dict.fromkeys([*metrics, *sorted(_FIELDS), *short, *names])]


def _require_known(key: str, runs: Sequence[StoredRun]) -> None:
    if key in _FIELDS or not runs or any(values_of(run, key) for run in runs):
        return
    raise UsageError(f"no run has a {key!r}", hint=suggestion(key, _known_keys(runs)))


def _equal(value: Any, text: str) -> bool:
    if value is None or isinstance(value, bool):
        return str(value).casefold() == text.casefold()
    if isinstance(value, (int, float)):
        other = _float(text)
        if other is None:
            return False
        return bool(value == other) or (math.isnan(value) and math.isnan(other))
    return str(value) == text


def _comparable(value: Any, text: str) -> tuple[Any, Any] | None:
    """Two numbers, or two texts; anything else has no order."""
    if isinstance(value, str):
        return (value, text)
    other = _float(text)
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (value, other) if numeric and other is not None else None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _sorted(runs: Sequence[StoredRun], key: str, *, falling: bool) -> list[StoredRun]:
    """By numbers, then by texts; runs without a value, or with NaN, come last either way."""
    ranked: list[tuple[tuple[bool, Any], StoredRun]] = []
    rest: list[StoredRun] = []
    for run in runs:
        value = next(iter(values_of(run, key)), None)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            rest.append(run)
        else:
            is_text = not isinstance(value, (int, float))
            ranked.append(((is_text, str(value) if is_text else value), run))
    ranked.sort(key=operator.itemgetter(0), reverse=falling)
    return [run for _, run in ranked] + rest


def _main_metric(record: Record) -> str | None:
    """The metric a run is judged by at a glance."""
    names = record.metrics
    wanted = (*([record.best.monitor] if record.best else []), *USUAL_MONITORS)
    named = next((name for name in wanted if name in names), None)
    return named or min(filterfalse(_SIDE.fullmatch, names), key=_rank, default=None)


def _rank(name: str) -> tuple[bool, ...]:
    """Validation before all else, losses before other metrics, sums before their parts."""
    no_loss, part = "loss" not in name.lower(), "(" in name
    return (_VALIDATION.search(name) is None, no_loss, part, "test" in name)


def _common_metric(runs: Sequence[StoredRun]) -> str | None:
    names = {_main_metric(run.record) for run in runs} - {None}
    return names.pop() if len(names) == 1 else None


def _row(run: StoredRun, extra: Sequence[str], metric: str | None, now: float) -> list[str]:
    record = run.record
    shown = metric or _main_metric(record)
    summary = record.metrics.get(shown) if shown else None
    last = number(summary.last if summary else None)
    return [
        record.name,
        record.id[:8],
        run.status,
        *(_shown(next(iter(values_of(run, key)), None)) for key in extra),
        last if metric or summary is None else f"{shown} {last}",
        number(_best(record, shown, summary)),
        rough(duration(run, now)),
        rough(now - record.created),
    ]


def _shown(value: Any) -> str:
    if value is None:
        return MISSING
    return number(value) if isinstance(value, float) else str(value)


def _best(record: Record, name: str | None, summary: MetricSummary | None) -> float | None:
    """As the run itself says; else the least loss, the greatest accuracy.

    Of other metrics nobody knows which way is up.
    """
    if name is None or summary is None:
        return None
    if record.best is not None and record.best.monitor == name:
        return summary.max if record.best.mode == "max" else summary.min
    if "loss" in name or "error" in name:
        return summary.min
    return summary.max if _RISING.search(name) else None


def nothing(total: int, artifacts: object) -> str:
    """What to say where there is no line to show."""
    if total:
        return f"none of {plural(total, 'run')} meets that\n"
    return f"no runs yet in {artifacts}: `train HPARAMS` makes the first\n"
