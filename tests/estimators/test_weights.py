"""Weights of samples reach whoever weighs them, in the way that he takes them."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from fitted import trained, values
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torch_lab.errors import ConfigurationError


def weighed(n: int) -> np.ndarray:
    return np.random.default_rng(0).random(n).astype(np.float32)


@pytest.mark.parametrize("depth", [1, 2])
def test_of_a_pipeline_its_last_step_has_them(tmp_path, depth):
    def made():
        inner = make_pipeline(StandardScaler(), LinearRegression())
        return inner if depth == 1 else make_pipeline(StandardScaler(), inner)

    x, y = values()
    weights = weighed(len(y))
    by_name = {"pipeline__" * (depth - 1) + "linearregression__sample_weight": weights}
    expected = made().fit(x, y, **by_name).predict(x)
    module = trained(tmp_path, made(), train_data=(x, {"y": y, "sample_weight": weights}))
    assert np.array_equal(module.model.estimator.predict(x), expected)
    assert not np.allclose(made().fit(x, y).predict(x), expected)


def test_a_search_passes_them_on_to_a_pipeline(tmp_path):
    def made():
        steps = make_pipeline(StandardScaler(), Ridge())
        return GridSearchCV(steps, {"ridge__alpha": [0.1, 10.0]})

    x, y = values()
    weights = weighed(len(y))
    expected = made().fit(x, y, ridge__sample_weight=weights).predict(x)
    module = trained(tmp_path, made(), train_data=(x, {"y": y, "sample_weight": weights}))
    assert np.array_equal(module.model.estimator.predict(x), expected)


@pytest.mark.parametrize(
    "around", [make_pipeline, lambda each: GridSearchCV(each, {})], ids=["pipeline", "search"]
)
def test_who_takes_none_is_named_within_another(tmp_path, around):
    x, y = values()
    with pytest.raises(ConfigurationError, match="KNeighborsRegressor takes no weights"):
        trained(
            tmp_path,
            around(KNeighborsRegressor()),
            train_data=(x, {"y": y, "sample_weight": y}),
        )


@pytest.mark.parametrize("init", [{}, {"max_epochs": 1}], ids=["fit", "partial_fit"])
def test_who_takes_none_is_named(tmp_path, init):
    class Passing(KNeighborsRegressor):
        def partial_fit(self, x, y): ...

    x, y = values()
    with pytest.raises(ConfigurationError) as raised:
        trained(tmp_path, Passing(), init=init, train_data=(x, {"y": y, "sample_weight": y}))
    assert str(raised.value) == (
        'md["sample_weight"]: Passing takes no weights\n'
        "Leave them out of the metadata, or take an estimator that weighs its samples."
    )


# -- XGBoost's early stopping ----------------------------------------------------------------


def stopping() -> xgboost.XGBRegressor:
    return xgboost.XGBRegressor(n_estimators=40, early_stopping_rounds=2, n_jobs=1)


def test_early_stopping_weighs_validation_data(tmp_path):
    x, y = values(200)
    (x, held), (y, known) = np.split(x, 2), np.split(y, 2)
    weights, of_held = weighed(100), np.where(known > 0, 1e3, 1e-3).astype(np.float32)
    own = {"sample_weight": weights, "eval_set": [(held, known)], "verbose": False}
    expected = stopping().fit(x, y, **own, sample_weight_eval_set=[of_held]).best_iteration
    assert stopping().fit(x, y, **own).best_iteration != expected
    module = trained(
        tmp_path,
        stopping(),
        train_data=(x, {"y": y, "sample_weight": weights}),
        val_data=(held, {"y": known, "sample_weight": of_held}),
    )
    assert module.model.estimator.best_iteration == expected


def test_early_stopping_without_validation_data(tmp_path):
    with pytest.raises(ConfigurationError) as raised:
        trained(tmp_path, stopping(), train_data=values())
    assert str(raised.value) == (
        "early_stopping_rounds=2 looks at validation data, and there are none\n"
        "Give val_data or val_dataloaders, or leave early_stopping_rounds out."
    )
