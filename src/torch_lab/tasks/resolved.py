"""Hyperparameters as they were resolved where a run was queued, or edited in its task since.

They stand in the run's record, typed, and go before what the script gives where the run is
trained. Only what a record doesn't hold comes from the script: objects, and secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch_lab import experiment as experiments
from torch_lab.errors import HparamsError
from torch_lab.hparams.checking import check
from torch_lab.store.record import Record
from torch_lab.store.secrets import MASK
from torch_lab.store.values import Opaque
from torch_lab.tasks.plan import Plan


def as_recorded(plan: Plan, record: Record) -> Plan:
    """The plan with the record's hyperparameters, checked again."""
    source = f"the hyperparameters of run {record.name}"
    problems: list[str] = []
    values = _laid_over(plan.hparams.as_dict(), record.hparams, (), problems)
    if problems:
        raise HparamsError(source, problems)
    config_type = experiments.config_type(plan.experiment, "train_config")
    hparams = check(values, source, config_type=config_type)
    return replace(plan, hparams=replace(hparams, path=plan.hparams.path))


_MISSING = object()


def _laid_over(here: Any, recorded: Any, where: tuple[str, ...], problems: list[str]) -> Any:
    """The recorded value; where it is no value, the one of the script at the same place."""
    if isinstance(recorded, Opaque) or (isinstance(recorded, str) and MASK in recorded):
        if here is _MISSING or (isinstance(here, str) and MASK in here):
            problems.append(f"{'.'.join(where)}: {_why(recorded)}, and the script has none here")
        return here
    if isinstance(recorded, Mapping):
        given = here if isinstance(here, Mapping) else {}
        return {
            key: _laid_over(given.get(key, _MISSING), value, (*where, str(key)), problems)
            for key, value in recorded.items()
        }
    if isinstance(recorded, (list, tuple)):
        return _sequence(here, recorded, where, problems)
    return recorded


def _sequence(
    here: Any, recorded: list[Any] | tuple[Any, ...], where: tuple[str, ...], problems: list[str]
) -> Any:
    given = list(here) if isinstance(here, (list, tuple)) and len(here) == len(recorded) else []
    given += [_MISSING] * (len(recorded) - len(given))
    return type(recorded)(
        _laid_over(old, value, (*where, str(n)), problems)
        for n, (old, value) in enumerate(zip(given, recorded, strict=True))
    )


def _why(recorded: object) -> str:
    if isinstance(recorded, Opaque):
        return f"{recorded!r} can't be sent"
    return "a secret isn't sent"
