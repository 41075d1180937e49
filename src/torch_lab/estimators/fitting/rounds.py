"""Boosting, and other ensembles that grow: some rounds an epoch, and all of them in the end.

The number of rounds is the estimator's own. Each has its epoch, unless `max_epochs` says that there
are fewer: an epoch has several rounds then. Where hparams are silent, what doesn't add its rounds
up has at most 100 epochs: after each it is asked for the predictions of all its members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_lab.estimators.fitting.at_once import fit
from torch_lab.estimators.fitting.warm_starts import WarmStarts
from torch_lab.estimators.margins import Margins, growing_of
from torch_lab.estimators.model import EstimatorModel
from torch_lab.utils.text import plural

_MANY = 100  # epochs


class Schedule:
    """How many rounds are done after each epoch.

    `adds_up`: whether the predictions after a round are those before it, and what it adds.
    """

    def __init__(self, rounds: int, max_epochs: int | None, *, adds_up: bool) -> None:
        self.rounds = rounds
        most = max_epochs or (rounds if adds_up else _MANY)
        self.epochs = max(1, min(rounds, most))
        self._base: int | None = None

    def until(self, epoch: int, done: int) -> int:
        """The rounds that the estimator has after this epoch, where it has `done` before it.

        One that began with a fitted estimator adds its own to those.
        """
        if self._base is None:
            self._base = max(done - self._own(epoch), 0)
        return self._base + self._own(epoch + 1)

    @property
    def base(self) -> int:
        """The rounds of the estimator that this training began with."""
        return self._base or 0

    def _own(self, epochs: int) -> int:
        return min(epochs, self.epochs) * self.rounds // self.epochs

    @property
    def line(self) -> str:
        """It in words."""
        each = -(-self.rounds // self.epochs)
        few = "a round an epoch" if each == 1 else f"at most {each} an epoch"
        if self.epochs > _MANY:
            few += "; trainer.init.max_epochs makes it fewer epochs of several rounds"
        return f"trained in {plural(self.rounds, 'round')}, {few}"


class Growing:
    """Members added through scikit-learn's warm_start."""

    interruptible = False

    def __init__(self, model: EstimatorModel, parameter: str, max_epochs: int | None) -> None:
        self._model = model
        self._parameter = parameter
        rounds = model.estimator.get_params()[parameter]
        adds_up = growing_of(model.estimator) is not None
        self._schedule = Schedule(rounds, max_epochs, adds_up=adds_up)
        self._warm = WarmStarts()
        self.epochs = self._schedule.epochs
        self.line = self._schedule.line

    def step(self, x: Any, md: Mapping[str, Any], epoch: int) -> bool:
        """Grow to what the epoch ends with."""
        estimator = self._model.estimator
        self._model.margins = self._model.margins or Margins()
        until = self._schedule.until(epoch, members(estimator))
        changed = {"warm_start": True, self._parameter: until}
        before = {name: estimator.get_params()[name] for name in changed}
        estimator.set_params(**changed)
        try:
            with self._warm.kept(estimator, x, md.get("y"), md.get("sample_weight")):
                fit(estimator, x, md)
        finally:
            estimator.set_params(**before)
        return members(estimator) < until

    def close(self) -> None:
        """What the rounds have summed up to is of no more use."""
        self._model.margins = None


def members(estimator: Any) -> int:
    """How many members an ensemble has by now."""
    if hasattr(estimator, "n_iter_"):
        return int(estimator.n_iter_)
    return len(getattr(estimator, "estimators_", ()))
