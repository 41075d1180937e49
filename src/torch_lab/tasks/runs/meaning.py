"""What a key means for a run: a field, a metric's last value, a hyperparameter, and so on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.store.find import StoredRun
from torch_lab.store.flat import Shape
from torch_lab.store.record import UNFINISHED
from torch_lab.tasks.runs.live import Live, live
from torch_lab.tasks.table import moment
from torch_lab.utils.text import suggestion

_PROJECT = "hparams.task.project_name"
_SAVED = "checkpoints."  # best.epoch will do


def values_of(run: StoredRun, key: str) -> tuple[Any, ...]:
    """What a key means for a run; nothing where it has no such value."""
    if key in _FIELDS:
        return tuple(value for value in _FIELDS[key](run) if value is not None)
    found = run.facts.of_key(key)
    if not found and key in _LIVE:
        return tuple(value for value in _LIVE[key](run) if value is not None)
    return found


def value_of(run: StoredRun, key: str) -> Any:
    """The first of these values, or None."""
    return next(iter(values_of(run, key)), None)


def require_known(key: str, runs: Sequence[StoredRun]) -> None:
    """UsageError with the nearest name where no run has such a value."""
    if key in _FIELDS or key in _LIVE or not runs:
        return
    if all(shape.place(key) is None for shape in shapes(runs)):
        names = known_keys(runs)
        long = next((name for name in names if _initials(name) == key.casefold()), None)
        hint = suggestion(key, names) if long is None else f'did you mean "{long}"?'
        raise UsageError(f"no run has a {key!r}", hint=hint)


def _initials(name: str) -> str:
    """What a name may be called for short: lr for learning_rate."""
    return "".join(word[0] for word in name.casefold().split("_") if word)


def known_keys(runs: Sequence[StoredRun]) -> list[str]:
    """Metrics first, which are what one looks for most; then fields, hyperparameters, the rest."""
    known = shapes(runs)
    names = sorted({name for shape in known for name in shape.hparams})
    short = [part for n in names for part in (n.removeprefix("config."), n.rpartition(".")[2])]
    rest = sorted({name.removeprefix(_SAVED) for shape in known for name in shape.keys})
    return [*dict.fromkeys([*metrics_of(runs), *sorted(_FIELDS), *short, *names, *_LIVE, *rest])]


def metrics_of(runs: Iterable[StoredRun]) -> list[str]:
    """The names of all metrics that these runs have."""
    return sorted({name for shape in shapes(runs) for name in shape.metrics})


def shapes(runs: Iterable[StoredRun]) -> list[Shape]:
    """The different sets of keys that these runs have."""
    return list(dict.fromkeys(run.facts.shape for run in runs))


def duration(run: StoredRun, now: float) -> float | None:
    """How long the run took, or takes by now; unknown for one that was lost."""
    started = run.brief.started
    if started is None:
        return None
    end = now if run.status in UNFINISHED else run.brief.ended
    return None if end is None else max(end - started, 0.0)


def _script_names(run: StoredRun) -> tuple[str, ...]:
    path = PurePath(run.brief.script)
    return (path.stem, path.name, run.brief.script)


def _moment(seconds: float | None) -> tuple[str, ...]:
    return () if seconds is None else (moment(seconds),)


def _exactly(key: str) -> Callable[[StoredRun], tuple[Any, ...]]:
    return lambda run: (run.facts.exactly(key),)


def _progress(key: str) -> Callable[[StoredRun], tuple[Any, ...]]:
    """Of a run under way what it is at now, else what its record says."""

    def values(run: StoredRun) -> tuple[Any, ...]:
        now = live(run)
        return (run.facts.exactly(f"progress.{key}") if now is None else getattr(now, key),)

    return values


def _of_live(value: Callable[[Live], Any]) -> Callable[[StoredRun], tuple[Any, ...]]:
    def values(run: StoredRun) -> tuple[Any, ...]:
        now = live(run)
        return () if now is None else (value(now),)

    return values


_FIELDS: dict[str, Callable[[StoredRun], tuple[Any, ...]]] = {
    "name": lambda run: (run.brief.name,),
    "id": lambda run: (run.brief.id,),
    "status": lambda run: (run.status,),
    "reason": _exactly("reason"),
    "experiment": lambda run: (run.brief.experiment,),
    "script": _script_names,
    "host": _exactly("host"),
    "where": lambda run: (run.where,),
    "project": lambda run: (run.project or run.facts.exactly(_PROJECT),),
    "seed": _exactly("seed"),
    "dev_run": lambda run: (run.brief.dev_run,),
    "parent": lambda run: (run.facts.exactly("parent.name"), run.brief.parent),
    "duration": lambda run: (duration(run, time.time()),),
    "batch": _progress("batch"),
    "step": _progress("step"),
    "epoch": _progress("epoch"),
    "created": lambda run: _moment(run.brief.created),
    "started": lambda run: _moment(run.brief.started),
    "ended": lambda run: _moment(run.brief.ended),
}
# A hyperparameter may well be called so, and then is meant.
_LIVE: dict[str, Callable[[StoredRun], tuple[Any, ...]]] = {
    "rate": _of_live(lambda now: now.rate),
    "left": _of_live(lambda now: now.left),
}
