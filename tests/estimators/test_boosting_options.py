"""XGBoost's own options, in rounds that are looked at one by one."""

from __future__ import annotations

import pytest
import xgboost
from fitted import classes, trained


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
