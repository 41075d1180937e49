"""Raw predictions of scikit-learn's gradient boosting.

It adds one tree after the other to where a sample begins. A copy that has only the new trees, and
begins with what the others came to, adds them in the same way.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np


class Histograms:
    """Of HistGradientBoosting."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    @property
    def rounds(self) -> int:
        """How many there are."""
        return len(self._estimator._predictors)

    def margin(self, given: Any, first: int, last: int, base: Any) -> Any:
        """What the rounds from `first` to before `last` add to `base`."""
        part = copy.copy(self._estimator)
        part._predictors = part._predictors[first:last]
        if base is not None:
            part._baseline_prediction = base
        return part._raw_predict(given)

    def predicted(self, method: str, margin: Any) -> Any:
        """What predictions they come to."""
        return _made_of(self._estimator, method, margin)


class Stages:
    """Of GradientBoosting."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    @property
    def rounds(self) -> int:
        """How many there are."""
        return len(self._estimator.estimators_)

    def margin(self, given: Any, first: int, last: int, base: Any) -> Any:
        """What the rounds from `first` to before `last` add to `base`."""
        part = copy.copy(self._estimator)
        part.estimators_ = part.estimators_[first:last]
        if base is not None:
            part._raw_predict_init = lambda _: base.copy()  # it is added to in place
        raw = part.decision_function if hasattr(part, "decision_function") else part.predict
        found = raw(given)
        return found.reshape(len(found), -1)

    def predicted(self, method: str, margin: Any) -> Any:
        """What predictions they come to."""
        return _made_of(self._estimator, method, margin)


def _made_of(estimator: Any, method: str, margin: Any) -> Any:
    """Its own method, of samples that are known by their margins alone."""
    part = copy.copy(estimator)
    part._raw_predict = lambda _: margin
    part.n_features_in_ = 1
    vars(part).pop("feature_names_in_", None)
    return getattr(part, method)(np.zeros((len(margin), 1), dtype=np.float32))
