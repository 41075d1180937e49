"""A sweep as people see it: its trials, its best, and that one as a script."""

from __future__ import annotations

import json
import os
import pprint
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch_lab import hparams as hyperparameters
from torch_lab.errors import UsageError
from torch_lab.experiment.finding import CONFIGURATION
from torch_lab.hparams.overriding import full_keys
from torch_lab.store.find import StoredRun
from torch_lab.store.record import UNFINISHED
from torch_lab.tasks.runs.live import live
from torch_lab.tasks.sweep import membership
from torch_lab.tasks.sweep.ledger import KEY, OVERRIDES, REASON, Trials
from torch_lab.tasks.sweep.search import Order
from torch_lab.tasks.table import MISSING, columns, number
from torch_lab.utils.files import write_atomic
from torch_lab.utils.paths import display
from torch_lab.utils.text import plural

_WORDS = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed", "WAITING": "waiting"}
_SHOWN = ("completed", "pruned", "failed", "running", "interrupted")


def rows(order: Order, trials: Trials) -> list[dict[str, Any]]:
    """Each trial as plain values."""
    settings, prefix = order.settings, order.experiment.run_prefix
    runs = membership.runs_of(settings.artifacts, prefix, settings.lost_after)
    best = trials.best()
    return [
        _row(trial, runs.get(trial.user_attrs[KEY]), trials)
        | {"best": best is not None and trial.number == best.number}
        for trial in trials.all()
    ]


def _row(trial: Any, run: StoredRun | None, trials: Trials) -> dict[str, Any]:
    named = trial.user_attrs.get("run") or {}
    at = live(run) if run is not None else None
    return {
        "trial": trial.number,
        "state": _WORDS.get(trial.state.name) or _of_unfinished(trial, run, trials),
        "value": trial.value,
        "run": run.record.name if run is not None else named.get("name"),
        "overrides": list(trial.user_attrs.get(OVERRIDES, ())),
        "reason": trial.user_attrs.get(REASON),
        "progress": None if at is None else str(at),
    }


def _of_unfinished(trial: Any, run: StoredRun | None, trials: Trials) -> str:
    if run is not None and run.status in UNFINISHED:
        return "running"
    return "running" if trials.owners.is_alive(trial) else "interrupted"


def counts(found: Sequence[Mapping[str, Any]]) -> str:
    """How many trials are in which state."""
    states = [row["state"] for row in found]
    parts = [f"{states.count(each)} {each}" for each in _SHOWN if each in states]
    return ", ".join(parts) or "no trials"


def table(order: Order, found: Sequence[Mapping[str, Any]], *, width: int | None = None) -> str:
    """The trials, the best marked."""
    design = order.design
    head = f"sweep {design.name}: {plural(len(found), 'trial')}, {counts(found)}"
    best = f"{'least' if design.mode == 'min' else 'greatest'} {design.metric} is best"
    cells = [
        (
            f"{row['trial']}{' *' if row['best'] else ''}",
            row["state"],
            number(row["value"]),
            row["run"] or MISSING,
            ", ".join(row["overrides"]) or MISSING,
            row["progress"] or row["reason"] or "",
        )
        for row in found
    ]
    titles = ("trial", "state", design.metric, "run", "hyperparameters", "")
    lines = columns([titles, *cells], width=width) if cells else []
    return "\n".join([f"{head} ({best})", *lines]) + "\n"


def summary(order: Order, trials: Trials, elsewhere: Sequence[Any]) -> str:
    """The last lines of a search."""
    found = rows(order, trials)
    lines = [f"sweep {order.design.name}: {counts(found)}"]
    script = display(order.experiment.script)
    if best := next((row for row in found if row["best"]), None):
        lines.append(
            f"  best      trial {best['trial']}: {order.design.metric} {best['value']:.4g}"
        )
        lines.append(f"            {', '.join(best['overrides'])}")
        lines.append(f"  run       {best['run']}")
        lines.append(f"  next      lab sweep {script} --out {_suggested(order)}")
    owners = sorted({trials.owners.where(trial) for trial in elsewhere})
    if owners:
        what = plural(len(elsewhere), "trial")
        lines.append(f"  elsewhere {what} under way: {', '.join(owners)}")
    return "\n".join(lines)


def _suggested(order: Order) -> str:
    best = order.experiment.script.with_name(f"{order.experiment.script_name}_best.py")
    return display(best)


def write_best(order: Order, trials: Trials | None, out: Path) -> str:
    """The best trial as a script that extends the sweep's; returns what to say of it."""
    best = None if trials is None else trials.best()
    if best is None:
        raise UsageError(
            f"the sweep {order.design.name} has no completed trial yet",
            hint=f"`lab sweep {display(order.experiment.script)}` searches.",
        )
    out = out if out.suffix else out.with_suffix(".py")
    _check(out)
    write_atomic(out, _script(order, best, out).encode())
    return f"{display(out)}: trial {best.number}, {order.design.metric} {best.value:.4g}"


def _check(out: Path) -> None:
    if out.exists():
        raise UsageError(f"{display(out)} exists", hint="Name a new file.")
    if not (out.parent / CONFIGURATION).is_file():
        raise UsageError(
            f"{display(out)} would lie in no experiment: there is no {CONFIGURATION} beside it",
            hint="Write it beside the sweep's script.",
        )
    if "-" in out.stem or out.suffix != ".py":
        raise UsageError(
            f'{out.name} is no name for a script: a .py file without "-"',
            hint=f"for instance {out.stem.replace('-', '_')}.py",
        )


def _script(order: Order, best: Any, out: Path) -> str:
    script, design = order.experiment.script, order.design
    run = (best.user_attrs.get("run") or {}).get("name", "")
    base = Path(os.path.relpath(script.resolve(), out.parent.resolve())).as_posix()
    changes = _changes(order, best)
    lines = "".join(f'        "{key}": {_shown(value)},\n' for key, value in changes.items())
    said = f"Trial {best.number} of the sweep {design.name}, {design.metric} {best.value:.6g}"
    return (
        f'"""{said} (run {run})."""\n\n'
        "from torch_lab.hparams import extend\n\n"
        f"hparams = extend(\n    {json.dumps(base)},\n    {{\n{lines}    }},\n)\n"
    )


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # in the quotes that people use
    return pprint.pformat(value, width=80, sort_dicts=False).replace("\n", "\n        ")


def _changes(order: Order, best: Any) -> dict[str, Any]:
    """The trial's values under their full keys, as they were read."""
    texts = (*order.overrides, *best.user_attrs.get(OVERRIDES, ()))
    loaded = hyperparameters.load(order.experiment.script, overrides=texts).as_dict()
    return {key: _at(loaded, key) for key in full_keys(texts)}


def _at(values: Any, key: str) -> Any:
    for word in key.split("."):
        values = values[word]
    return values
