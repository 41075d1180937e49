"""What is kept of an ensemble stays as it was while the ensemble grows."""

from __future__ import annotations

import numpy as np
import pytest
from fitted import classes
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

from torch_lab.estimators import formats
from torch_lab.estimators.freezing import frozen

GROWING = {
    "boosting": (GradientBoostingClassifier(subsample=0.5, random_state=0), "n_estimators"),
    "histograms": (HistGradientBoostingClassifier(max_features=0.5, random_state=0), "max_iter"),
    "forest": (RandomForestClassifier(random_state=0), "n_estimators"),
    "bagging": (BaggingClassifier(random_state=0), "n_estimators"),
}


@pytest.mark.parametrize("name", GROWING)
def test_a_frozen_ensemble_does_not_grow(name):
    x, y = classes()
    estimator, parameter = GROWING[name]
    estimator.set_params(warm_start=True, **{parameter: 3}).fit(x, y)
    then = estimator.predict_proba(x)
    kept = frozen(estimator)
    estimator.set_params(**{parameter: 8}).fit(x, y)
    assert not np.array_equal(estimator.predict_proba(x), then)
    assert np.array_equal(kept.predict_proba(x), then)
    assert np.array_equal(
        formats.load(formats.dump(kept), into=kept, say=print).predict_proba(x), then
    )
    kept.set_params(**{parameter: 8}).fit(x, y)  # goes on as the other has: its generator, too
    assert np.array_equal(kept.predict_proba(x), estimator.predict_proba(x))


def test_its_members_are_shared():
    x, y = classes()
    forest = RandomForestClassifier(4, random_state=0).fit(x, y)
    kept = frozen(forest)
    assert kept is not forest
    assert kept.estimators_ is not forest.estimators_
    assert all(a is b for a, b in zip(kept.estimators_, forest.estimators_, strict=True))


def test_who_may_change_its_members_is_not_frozen():
    class Own(RandomForestClassifier):
        pass

    x, y = classes()
    assert frozen(Own(2).fit(x, y)) is None
