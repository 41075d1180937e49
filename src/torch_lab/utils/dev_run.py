"""`--dev-run N`: a quick check of an experiment on a few batches."""

from __future__ import annotations

import math
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.utils.copying import plain_copy


def parse_dev_run(text: str) -> int | float:
    """The number of batches (a positive int), or the fraction of them (a float up to 1)."""
    for read in (int, float):
        try:
            return _valid(read(text), text)
        except ValueError:
            continue
    raise _refusal(text)


def set_hparams_debug_overrides(
    hparams: dict[str, Any], dev_run: int | float | str
) -> dict[str, Any]:
    """A copy of hparams that overfits `dev_run` batches, in the project "test"."""
    batches = parse_dev_run(dev_run) if isinstance(dev_run, str) else _valid(dev_run, dev_run)
    changed: dict[str, Any] = plain_copy(hparams)
    changed.setdefault("task", {})["project_name"] = "test"
    init = changed.setdefault("trainer", {}).setdefault("init", {})
    init.update(overfit_batches=batches, log_every_n_steps=1)
    if "num_workers" in changed.get("config", {}):
        changed["config"]["num_workers"] = 0
    return changed


def _valid(number: int | float, given: object) -> int | float:
    whole = isinstance(number, int) and not isinstance(number, bool) and number > 0
    fraction = isinstance(number, float) and math.isfinite(number) and 0 < number <= 1
    if not (whole or fraction):
        raise _refusal(given)
    return number


def _refusal(given: object) -> UsageError:
    return UsageError(
        f"--dev-run {given}: expected a number of batches (a positive int) "
        "or a fraction of them (a float above 0, up to 1.0)",
        hint="for example: --dev-run 2, or --dev-run 0.1",
    )
