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
    then_as = frozen(estimator)
    estimator.set_params(**{parameter: 8}).fit(x, y)
    kept = then_as()
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
    kept = frozen(forest)()
    assert kept is not forest
    assert kept.estimators_ is not forest.estimators_
    assert all(a is b for a, b in zip(kept.estimators_, forest.estimators_, strict=True))


def test_who_may_change_its_members_is_not_frozen():
    class Own(RandomForestClassifier):
        pass

    x, y = classes()
    assert frozen(Own(2).fit(x, y)) is None


# -- XGBoost ---------------------------------------------------------------------------------

xgboost = pytest.importorskip("xgboost")
FEW = {"n_estimators": 3, "n_jobs": 1}


def _tables():
    x, y = classes()
    kinds = {"feature_types": ["q", "c"], "enable_categorical": True}
    categories = np.stack([x[:, 0], y % 2], 1)
    two, yes = np.stack([y, 1 - y], 1).astype("f"), y > 0
    return {
        "classes": (xgboost.XGBClassifier(**FEW), x, y),
        "two classes": (xgboost.XGBClassifier(**FEW, base_score=0.3), x, yes),
        "values": (xgboost.XGBRegressor(**FEW), x, y),
        "forests": (xgboost.XGBRegressor(**FEW, num_parallel_tree=4, subsample=0.5), x, y),
        "two values": (xgboost.XGBRegressor(**FEW), x, two),
        "trees of two": (xgboost.XGBRegressor(**FEW, multi_strategy="multi_output_tree"), x, two),
        "quantiles": (
            xgboost.XGBRegressor(**FEW, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5]),
            *(x, y),
        ),
        "medians": (xgboost.XGBRegressor(**FEW, objective="reg:absoluteerror"), x, y),
        "by loss": (xgboost.XGBClassifier(**FEW, grow_policy="lossguide", max_leaves=3), x, y),
        "categories": (xgboost.XGBClassifier(**FEW, **kinds), categories, y),
        "missing": (xgboost.XGBClassifier(**FEW, missing=0.0), np.maximum(x, 0), y),
    }


TABLES = _tables()


@pytest.mark.parametrize("name", TABLES)
def test_a_frozen_booster_is_written_as_it_was(name):
    estimator, x, y = TABLES[name]
    estimator.fit(x, y)
    written, then_as = formats.dump(estimator), frozen(estimator)
    booster = estimator.get_booster()
    known = xgboost.DMatrix(x, y, feature_types=booster.feature_types, enable_categorical=True)
    for more in range(3, 8):
        booster.update(known, more)
    assert not np.array_equal(formats.dump(estimator), written)
    assert np.array_equal(formats.dump(then_as()), written)


@pytest.mark.parametrize(
    "more",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"booster": "gblinear"},
        {"early_stopping_rounds": 2},
        {"callbacks": [xgboost.callback.LearningRateScheduler(lambda epoch: 0.5)]},
    ],
    ids=lambda more: next(iter(more)),
)
def test_boosters_that_change_what_is_there_are_not_frozen(more):
    x, y = classes()
    estimator = xgboost.XGBClassifier(**FEW, **more)
    assert frozen(estimator.fit(x, y, eval_set=[(x, y)], verbose=False)) is None


def test_of_a_class_of_ones_own_nothing_is_known():
    class Own(xgboost.XGBClassifier):
        pass

    assert frozen(Own(**FEW).fit(*classes())) is None
