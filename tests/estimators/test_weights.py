"""Weights of samples reach whoever weighs them, in the way that he takes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xgboost
from fitted import classes, trained, values
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting import gradient_boosting
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torch_lab.errors import ConfigurationError
from torch_lab.estimators.fitting.bins import Bins


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


# -- bins of HistGradientBoosting ------------------------------------------------------------


@pytest.fixture
def binned(monkeypatch) -> list[int]:
    """How many samples were binned, each time that bins were found."""
    found, own = [], gradient_boosting._BinMapper.fit_transform

    def spied(self, x, *args, **kwargs):
        found.append(len(x))
        return own(self, x, *args, **kwargs)

    monkeypatch.setattr(gradient_boosting._BinMapper, "fit_transform", spied)
    return found


@pytest.mark.parametrize(
    ("options", "names"),
    [({}, None), ({"class_weight": "balanced"}, None), ({}, np.array(["a", "b", "c"]))],
    ids=["weights", "class_weight", "texts"],
)
def test_bins_are_found_once_for_all_rounds(tmp_path, binned, options, names):
    x, y = classes()
    y = y if names is None else names[y]
    weights = weighed(len(y))
    made = HistGradientBoostingClassifier(max_iter=6, random_state=0, **options)
    expected = made.fit(x, y, sample_weight=weights).predict_proba(x)
    assert binned == [len(y)]
    made = HistGradientBoostingClassifier(max_iter=6, random_state=0, **options)
    module = trained(tmp_path, made, train_data=(x, {"y": y, "sample_weight": weights}))
    assert binned == [len(y)] * 2
    assert np.array_equal(module.model.estimator.predict_proba(x), expected)
    assert "_bin_data" not in vars(module.model.estimator)


def test_samples_that_have_changed_are_binned_anew(binned):
    x, y = map(torch.from_numpy, classes())
    made, bins = HistGradientBoostingClassifier(warm_start=True), Bins()

    def grown(rounds: int, *of: torch.Tensor) -> int:
        with bins.kept(made, *of):
            made.set_params(max_iter=rounds).fit(x, y)
        return len(binned)

    assert [grown(1, x, y), grown(2, x, y)] == [1, 1]
    x[0] += 1
    assert [grown(3, x, y), grown(4, x, y)] == [2, 2]
    assert grown(5, x.clone(), y) == 3
