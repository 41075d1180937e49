"""XGBoost's own options, in rounds that are looked at one by one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import xgboost
from fitted import classes, trained

from torch_lab.estimators import EstimatorModel
from torch_lab.estimators.fitting.boosters import Boosting


def test_early_stopping_lags_behind_no_round(tmp_path):
    x, y = classes()
    options = {
        "n_estimators": 5,
        "early_stopping_rounds": 3,
        "n_jobs": 1,
        "eval_metric": "mlogloss",
    }
    by_hand = xgboost.XGBClassifier(**options).fit(x, y, eval_set=[(x, y)], verbose=False)
    module = trained(tmp_path, xgboost.XGBClassifier(**options), train_data=(x, y), val_data=(x, y))
    losses = by_hand.evals_result()["validation_0"]["mlogloss"]
    assert [each["loss/validate"] for each in module.seen] == pytest.approx(losses, rel=1e-4)


def test_several_metrics_of_its_own(tmp_path):
    x, y = classes()
    estimator = xgboost.XGBClassifier(n_estimators=3, n_jobs=1, eval_metric=["merror", "mlogloss"])
    module = trained(tmp_path, estimator, train_data=(x, y), val_data=(x, y))
    assert len(module.seen) == 3
    assert module.model.estimator.eval_metric == ["merror", "mlogloss"]


def fitted(estimator, x, y):
    model = EstimatorModel(estimator.fit(x, y))
    model.changed()
    return model


def boosted(model, x, y, epochs):
    """Some epochs of four, and what was said of them."""
    said = []
    boosting = Boosting(model, None, None, said.append)
    for epoch in epochs:
        boosting.step(x, {"y": y}, epoch)
    boosting.close()
    model.changed()
    return said


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"subsample": 0.5}, "its rounds draw at random: 2 rounds so far, boosted again"),
        (
            {"booster": "dart", "rate_drop": 0.5},
            "its rounds depend on more than those before, and it began with another run's, which"
            " can't be had back: it goes on, but not exactly",
        ),
    ],
)
def test_rounds_that_draw_after_those_of_another_run(options, line):
    x, y = classes()
    made = partial(xgboost.XGBClassifier, n_estimators=4, n_jobs=1, max_depth=2, **options)
    first = fitted(made(random_state=5), x, y)
    cut, whole = EstimatorModel(made()), EstimatorModel(made())
    for each in (cut, whole):
        each.set_extra_state(first.get_extra_state())
    assert boosted(whole, x, y, range(4)) == []
    assert boosted(cut, x, y, range(2)) == []
    resumed = EstimatorModel(made())
    resumed.set_extra_state(cut.get_extra_state())
    assert boosted(resumed, x, y, range(2, 4)) == [line]
    found, wanted = (each.estimator.predict_proba(x) for each in (resumed, whole))
    assert resumed.estimator.get_booster().num_boosted_rounds() == 8
    if "subsample" in options:
        assert np.array_equal(found, wanted)
