"""What a run of a sweep with a pruner says after each validation, and how it is ended early."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl

from torch_lab.engine.lightning import Stop, Trainer
from torch_lab.tasks.plan import say
from torch_lab.tasks.sweep import ledger
from torch_lab.tasks.sweep.design import NONE
from torch_lab.tasks.sweep.ledger import Trials
from torch_lab.tasks.sweep.membership import PRUNER, Membership, current


def watch() -> list[pl.Callback]:
    """The callback that asks the pruner, where this process trains a trial that has one."""
    mine = current()
    return [] if mine is None or mine.pruner == NONE else [Pruning(mine)]


class Pruning(pl.Callback):
    """Reports the metric of each validation, on rank 0, and stops the run where that is no use.

    The storage may be away: it is said once, and the training goes on.
    """

    def __init__(self, mine: Membership) -> None:
        self._mine = mine
        self._trials: Trials | None = None
        self._said = False
        self._validations = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask after each validation, but the first, which is of the untrained weights."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(self._mine.metric)
        step, self._validations = self._validations, self._validations + 1
        pruned = False
        if trainer.is_global_zero and value is not None and math.isfinite(float(value)):
            pruned = self._is_pruned(float(value), step)
        if trainer.strategy.broadcast(pruned):
            trainer.should_stop = True
            if isinstance(trainer, Trainer):
                shown = f"{self._mine.metric} {float(value):.4g}" if value is not None else ""
                why = f"{shown} after validation {step + 1}".strip()
                trainer.was_stopped_by(Stop(PRUNER, why))

    def _is_pruned(self, value: float, step: int) -> bool:
        try:
            if self._trials is None:
                self._trials = ledger.of_membership(self._mine)
            return self._trials.report(self._mine.trial_id, value, step)
        except Exception as error:  # noqa: BLE001  a database's driver has any: no reason to end a run
            if not self._said:
                self._said = True
                say(f"warning: the sweep can't be asked whether to go on: {error}")
            return False

    def state_dict(self) -> dict[str, Any]:
        """How many validations there were: a resumed run counts on."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on, in a run that goes on."""
        self._validations = state_dict["validations"]
