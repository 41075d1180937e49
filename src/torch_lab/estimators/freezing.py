"""A fitted ensemble as it is now, while more is added to it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch_lab.estimators.margins import boosters


def frozen(estimator: Any) -> Callable[[], Any] | None:
    """What makes it as it is now, when that is asked for; little is done and kept until then.

    None for what isn't scikit-learn's or XGBoost's own: who else grows may well change what is
    there, as do XGBoost's dart, callbacks and early stopping, which notes the best round.
    """
    package = type(estimator).__module__.partition(".")[0]
    if package == "xgboost":
        return _cut(estimator)
    if package != "sklearn":
        return None
    kept = copy.deepcopy(estimator, _shared(estimator))
    return lambda: kept


def _cut(estimator: Any) -> Callable[[], Any] | None:
    """Its first rounds are what it was."""
    if not boosters.only_adds(estimator) or (booster := estimator.get_booster()).attributes():
        return None
    rounds, kept = booster.num_boosted_rounds(), copy.copy(estimator)

    def then() -> Any:
        kept._Booster = booster[:rounds]
        return kept

    return then


def _shared(estimator: Any) -> dict[int, Any]:
    """What deepcopy takes for what holds the members: the same ones, to which none is added."""
    own = vars(estimator)
    held = own.get("estimators_", own.get("_predictors"))
    return {} if held is None else {id(held): copy.copy(held)}
