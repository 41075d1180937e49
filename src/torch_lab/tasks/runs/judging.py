"""The metric that a run is judged by, which way is better, and the best of several runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import filterfalse

from torch_lab.errors import RunNotFound, UsageError
from torch_lab.store.find import StoredRun
from torch_lab.store.flat import Shape
from torch_lab.tasks.runs.meaning import metrics_of
from torch_lab.utils.metric_names import USUAL_MONITORS, usual_mode
from torch_lab.utils.text import plural, suggestion

MODES = ("min", "max")
_VALIDATION = re.compile(r"(?<![a-z])e?val(?!ue)", re.IGNORECASE)
# What is logged beside the metrics: no run is judged by it.
_SIDE = re.compile(
    r"(lr|learning_rate)([-/_].*)?|momentum|memory/.*|epoch|(.*[_/])?step", re.IGNORECASE
)


def main_metric(run: StoredRun) -> str | None:
    """The metric a run is judged by at a glance."""
    facts = run.facts
    return _main(facts.shape, facts.exactly("best.monitor"))


def common_metric(runs: Sequence[StoredRun]) -> str | None:
    """The metric that all of these runs are judged by."""
    names = {main_metric(run) for run in runs} - {None}
    return names.pop() if len(names) == 1 else None


def usual_metric(runs: Sequence[StoredRun]) -> str | None:
    """The metric that most of these runs are judged by."""
    names = Counter(name for run in runs if (name := main_metric(run)) is not None)
    return max(names, key=names.__getitem__, default=None)


def contenders(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The runs that are compared: not dev runs, which overfit on purpose, unless all are."""
    return [run for run in runs if run.brief.dev_run is None] or list(runs)


def direction(run: StoredRun, metric: str) -> str | None:
    """Which value is best, "min" or "max": as the run itself says, else as names do.

    The least loss, the greatest accuracy; of other metrics nobody knows which way is up.
    """
    facts = run.facts
    return _direction(metric, facts.exactly("best.monitor"), facts.exactly("best.mode"))


def best_value(run: StoredRun, metric: str, mode: str | None) -> float | None:
    """The best value that a metric reached in a run."""
    return None if mode is None else run.facts.metric(metric, mode)


def require_metric(metric: str, runs: Sequence[StoredRun]) -> None:
    """RunNotFound, with the nearest name, where no run has a value of a metric."""
    if all(run.facts.metric(metric) is None for run in runs):
        raise _without(runs, metric)


def mode_of(runs: Sequence[StoredRun], metric: str) -> str:
    """Which value of a metric is best for all of these runs; UsageError where that isn't known."""
    modes = {direction(run, metric) for run in runs if run.facts.metric(metric) is not None}
    known = modes - {None}
    if len(known) == 1:
        return str(known.pop())
    raise UsageError(
        f"is the least {metric} the best, or the greatest?", hint="add --mode min or --mode max"
    )


def ranked(runs: Sequence[StoredRun], metric: str, mode: str) -> list[StoredRun]:
    """The runs that have a value of a metric, the best first; RunNotFound where none has."""
    found = scored(runs, metric, mode)
    if not found:
        raise _without(runs, metric)
    return [run for _, run in found]


def scored(runs: Sequence[StoredRun], metric: str, mode: str) -> list[tuple[float, StoredRun]]:
    """The runs with the best value that each reached, the best first, of equal ones the newer."""
    scores = ((run.facts.metric(metric, mode), run) for run in runs)
    reached = [(score, run) for score, run in scores if score is not None and score == score]
    sign = 1 if mode == "min" else -1
    return sorted(reached, key=lambda each: sign * each[0])


def _without(runs: Sequence[StoredRun], metric: str) -> RunNotFound:
    if not runs:
        return RunNotFound("there are no runs to choose from")
    if metric in metrics_of(runs):
        return RunNotFound(f'"{metric}" was never a number in {plural(len(runs), "run")}')
    return RunNotFound(
        f'none of {plural(len(runs), "run")} has a value of "{metric}"',
        hint=suggestion(metric, metrics_of(runs)),
    )


@lru_cache(maxsize=4096)
def _main(shape: Shape, monitor: str | None) -> str | None:
    names = shape.metrics
    named = next((name for name in (monitor, *USUAL_MONITORS) if name in names), None)
    return named or min(filterfalse(_SIDE.fullmatch, names), key=_rank, default=None)


def _rank(name: str) -> tuple[bool, ...]:
    """Validation before all else, losses before other metrics, sums before their parts."""
    no_loss, part = "loss" not in name.lower(), "(" in name
    return (_VALIDATION.search(name) is None, no_loss, part, "test" in name)


@lru_cache(maxsize=4096)
def _direction(metric: str, monitor: str | None, mode: str | None) -> str | None:
    return mode if monitor == metric and mode in MODES else usual_mode(metric)
