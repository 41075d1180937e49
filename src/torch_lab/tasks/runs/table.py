"""The runs as a table: one line each, as wide as the terminal allows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from torch_lab.store.find import StoredRun
from torch_lab.tasks.runs.judging import best_value, common_metric, direction, main_metric
from torch_lab.tasks.runs.live import Live, live
from torch_lab.tasks.runs.meaning import duration, value_of
from torch_lab.tasks.table import MISSING, colored_status, layout, number, printable, rough
from torch_lab.utils.text import plural

_STATUS = 2


def table(
    runs: Sequence[StoredRun],
    keys: Iterable[str] = (),
    *,
    metric: str | None = None,
    mode: str | None = None,
    width: int | None = None,
    color: bool = False,
    now: float | None = None,
) -> str:
    """One line a run; `keys` are shown as columns of their own.

    Judged by `metric`, or by the one that each run itself is judged by.
    """
    now = time.time() if now is None else now
    common = metric or common_metric(runs)
    under_way = [live(run) for run in runs]
    progress = _PROGRESS if any(under_way) else ()
    special = {"name", "id", "status", common, *progress}
    extra = [key for key in dict.fromkeys(keys) if key not in special]
    header = ["name", "id", "status", *extra, common or "metric", "best", *progress]
    rows = [
        [
            run.brief.name,
            run.brief.id[:8],
            run.status,
            *(shown(value_of(run, key)) for key in extra),
            *_judged(run, common, mode),
            *(_progress(run, at) if progress else ()),
            rough(duration(run, now)),
            rough(now - run.brief.created),
        ]
        for run, at in zip(runs, under_way, strict=True)
    ]
    lines = layout([[*header, "duration", "age"], *rows], width=width)
    if color:
        for line in lines[1:]:
            line[_STATUS : _STATUS + 1] = [colored_status(cell) for cell in line[_STATUS:][:1]]
    return "\n".join("  ".join(line).rstrip() for line in lines) + "\n"


def shown(value: Any) -> str:
    """A value in a cell."""
    if value is None:
        return MISSING
    return number(value) if isinstance(value, float) else printable(str(value))


def nothing(total: int, artifacts: object) -> str:
    """What to say where there is no line to show."""
    if total:
        return f"none of {plural(total, 'run')} meets that\n"
    return f"no runs yet in {artifacts}: `train HPARAMS` makes the first\n"


_PROGRESS = ("epoch", "left", "rate")


def _progress(run: StoredRun, at: Live | None) -> tuple[str, ...]:
    """The epoch under way, the time left, the rate; else the epochs that are over."""
    if at is None:
        return shown(value_of(run, "epoch")), MISSING, MISSING
    return at.where, rough(at.left), MISSING if at.rate is None else f"{at.rate:.3g}/s"


def _judged(run: StoredRun, common: str | None, mode: str | None) -> tuple[str, str]:
    """The metric's last value and its best one; which metric, where runs have different ones."""
    name = common or main_metric(run)
    if name is None:
        return MISSING, MISSING
    last = run.facts.metric(name)
    text = number(last)
    best = best_value(run, name, mode or direction(run, name))
    return text if common or last is None else f"{name} {text}", number(best)
