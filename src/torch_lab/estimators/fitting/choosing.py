"""Which way of training an estimator is taken, from what it is and what hparams say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from torch_lab.errors import ConfigurationError
from torch_lab.estimators import naming
from torch_lab.estimators.fitting.at_once import AtOnce
from torch_lab.estimators.fitting.boosters import Boosting, is_booster
from torch_lab.estimators.fitting.passes import Passes
from torch_lab.estimators.fitting.rounds import Growing
from torch_lab.estimators.model import EstimatorModel

_ENDS = ("max_epochs", "max_steps", "max_time")
# scikit-learn's that boost, and the parameter that says how often.
_GROWING = {
    "GradientBoostingClassifier": "n_estimators",
    "GradientBoostingRegressor": "n_estimators",
    "HistGradientBoostingClassifier": "max_iter",
    "HistGradientBoostingRegressor": "max_iter",
}
_MANY = 10_000  # samples from which on HistGradientBoosting holds some of them out by itself

Held = tuple[Any, Mapping[str, Any]]


class Fitter(Protocol):
    """A way of training an estimator on what the Trainer's loop hands over."""

    @property
    def line(self) -> str:
        """It in words."""

    @property
    def epochs(self) -> int | None:
        """How many epochs there are; None: as hparams say."""

    @property
    def interruptible(self) -> bool:
        """Whether a signal needn't wait for the end of a step."""

    def step(self, x: Any, md: Mapping[str, Any], epoch: int) -> bool:
        """Train on a batch; whether the estimator has ended its training by itself."""

    def close(self) -> None:
        """Nothing more is asked of it."""


def given(init: Mapping[str, Any]) -> list[str]:
    """Which of a Trainer's limits on the length of training hparams name."""
    return [name for name in _ENDS if init.get(name) not in (None, -1)]


def goes_in_passes(estimator: Any, init: Mapping[str, Any]) -> bool:
    """Whether batches are streamed through partial_fit; nothing is collected then."""
    return bool(hasattr(estimator, "partial_fit") and given(init))


def grows(estimator: Any, samples: int) -> str | None:
    """The parameter with the number of members that are added in rounds, if they are."""
    kind = type(estimator)
    if not hasattr(estimator, "get_params"):
        return None
    params = estimator.get_params(deep=False)
    if kind.__module__.startswith("sklearn.ensemble.") and kind.__name__ in _GROWING:
        return None if _stops_itself(params, samples) else _GROWING[kind.__name__]
    return "n_estimators" if params.get("warm_start") is True and "n_estimators" in params else None


def _stops_itself(params: Mapping[str, Any], samples: int) -> bool:
    """Whether it looks out for its own end, over more rounds than an epoch has."""
    if "early_stopping" in params:
        own = params["early_stopping"]
        return samples > _MANY if own == "auto" else bool(own)
    return params.get("n_iter_no_change") is not None


def by_rounds(estimator: Any, samples: int) -> bool:
    """Whether it is trained round by round."""
    return is_booster(estimator) or grows(estimator, samples) is not None


def require_epochs(estimator: Any, init: Mapping[str, Any]) -> None:
    """Refuse limits of what has no epochs however many samples there are."""
    if not by_rounds(estimator, samples=0):
        _refuse_limits(estimator, init)


def choose(
    model: EstimatorModel,
    init: Mapping[str, Any],
    samples: int,
    validation: Held | None,
    say: Callable[[str], None],
) -> Fitter:
    """How an estimator is trained on so many samples, all of them at hand."""
    estimator = model.estimator
    most = init.get("max_epochs")
    most = None if most in (None, -1) else most
    if is_booster(estimator):
        return Boosting(model, most, validation, say)
    if (parameter := grows(estimator, samples)) is not None:
        return Growing(model, parameter, most)
    _refuse_limits(estimator, init)
    return AtOnce(model)


def passes(model: EstimatorModel, classes: Callable[[], np.ndarray]) -> Fitter:
    """Batches streamed through partial_fit."""
    return Passes(model, classes)


def _refuse_limits(estimator: Any, init: Mapping[str, Any]) -> None:
    meant = [name for name in given(init) if init[name] != 1]
    if meant:
        name = naming.name_of(estimator)
        raise ConfigurationError(
            f"trainer.init.{meant[0]}: {name} is trained by fit, at once, and has no epochs",
            hint=f"Remove it; how long {name} trains is said by its own parameters.",
        )
