"""What XGBoost predicts after each round, by the new trees alone, is what all trees give."""

from __future__ import annotations

import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch
from fitted import classes, trained, values
from scipy import sparse

from torch_lab.estimators.fitting.boosters import Boosting
from torch_lab.estimators.model import EstimatorModel

xgboost = pytest.importorskip("xgboost")
ROUNDS = 6


@pytest.fixture
def passes(monkeypatch):
    """The rounds, from and to, of each pass of XGBoost's over samples of several features."""
    found, own = [], xgboost.Booster.inplace_predict

    def spied(self, data, *, iteration_range, **more):
        if data.shape[1] > 1:
            found.append(iteration_range)
        return own(self, data, iteration_range=iteration_range, **more)

    monkeypatch.setattr(xgboost.Booster, "inplace_predict", spied)
    return found


def boosted(estimator, x, y, *, epochs=None, validation=None):
    """The model after each epoch of its training."""
    model = EstimatorModel(estimator)
    fitting = Boosting(model, epochs, validation, print)
    try:
        for epoch in range(fitting.epochs):
            ended = fitting.step(x, {"y": y}, epoch)
            model.changed()
            yield model
            if ended:
                return
    finally:
        fitting.close()


def as_all_trees_give(model, x):
    expected = EstimatorModel(model.estimator)(x)
    found = model(x)
    return found.dtype == expected.dtype and torch.equal(found, expected)


def binary():
    return classes(count=2)


def amounts():
    x, y = values()
    return x, np.abs(y) + 0.1


def outputs():
    x, y = values()
    return x, np.stack([y, y**2, np.sin(y)], axis=1)


def labels():
    x, y = outputs()
    return x, (y > np.median(y, axis=0)).astype(int)


def gaps():
    x, y = classes()
    return np.where(np.random.default_rng(0).random(x.shape) < 0.3, np.nan, x).astype("f4"), y


def zeros():
    x, y = gaps()
    return np.nan_to_num(x), y


def rows():
    x, y = zeros()
    return sparse.csr_matrix(x), y


def doubles():
    x, y = classes()
    return np.asfortranarray(x.astype(np.float64) / 3), y


def logistic(y, margin):
    found = 1 / (1 + np.exp(-margin))
    return found - y, found * (1 - found)


def classifier(**more):
    return xgboost.XGBClassifier(n_estimators=ROUNDS, n_jobs=1, **more)


def regressor(**more):
    return xgboost.XGBRegressor(n_estimators=ROUNDS, n_jobs=1, **more)


DRAWING = {"subsample": 0.6, "colsample_bytree": 0.6, "learning_rate": 0.9}
VECTORS = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
QUANTILES = {"objective": "reg:quantileerror", "quantile_alpha": np.array([0.1, 0.5, 0.9])}
LEAVES = {"grow_policy": "lossguide", "max_leaves": 5, "max_depth": 0, "tree_method": "approx"}

ADDED = {
    "two classes": (classifier, {}, binary),
    "two classes, base_score": (classifier, {"base_score": 0.3, **DRAWING}, binary),
    "hinge": (classifier, {"objective": "binary:hinge"}, binary),
    "own objective": (classifier, {"objective": logistic}, binary),
    "several classes": (classifier, {}, classes),
    "softmax": (classifier, {"objective": "multi:softmax", "tree_method": "exact"}, classes),
    "drawing": (classifier, DRAWING, classes),
    "several trees": (classifier, {"num_parallel_tree": 3, **DRAWING}, classes),
    "best first": (classifier, LEAVES, classes),
    "gaps": (classifier, {}, gaps),
    "zeros are gaps": (classifier, {"missing": 0.0}, zeros),
    "doubles": (classifier, {}, doubles),
    "sparse": (classifier, {}, rows),
    "several labels": (classifier, {}, labels),
    "several labels, vectors": (classifier, VECTORS, labels),
    "values": (regressor, {}, values),
    "medians": (regressor, {"objective": "reg:absoluteerror"}, values),
    "quantiles": (regressor, QUANTILES, values),
    "amounts": (regressor, {"objective": "count:poisson", **DRAWING}, amounts),
    "gamma": (regressor, {"objective": "reg:gamma"}, amounts),
    "outputs": (regressor, {}, outputs),
    "outputs, vectors": (regressor, {**VECTORS, "num_parallel_tree": 2}, outputs),
}


@pytest.mark.parametrize("name", ADDED)
def test_the_new_trees_alone(name, passes):
    make, options, data = ADDED[name]
    x, y = data()
    table = torch.from_numpy(x) if isinstance(x, np.ndarray) else x
    for done, model in enumerate(boosted(make(**options), table, y), start=1):
        passes.clear()
        model(table)
        if done > 2:  # the first time nobody knows the table; the second time both are compared
            assert passes == [(done - 1, done)]
        assert as_all_trees_give(model, table)
    assert done == ROUNDS


def test_several_rounds_an_epoch(passes):
    x, y = classes()
    table = torch.from_numpy(x)
    for model in boosted(classifier(), table, y, epochs=3):
        passes.clear()
        assert as_all_trees_give(model, table)
    assert passes == [(0, 0), (4, 6)]


def test_rounds_on_top_of_a_fitted_one(passes):
    x, y = classes()
    table = torch.from_numpy(x)
    for model in boosted(classifier().fit(x, y), table, y):
        assert model.estimator.get_booster().num_boosted_rounds() > ROUNDS
        passes.clear()
        assert as_all_trees_give(model, table)
    assert passes == [(0, 0), (2 * ROUNDS - 1, 2 * ROUNDS)]


def test_rounds_that_do_not_count_are_not_added(passes):
    x, y = classes()
    table, held = torch.from_numpy(x[:80]), torch.from_numpy(x[80:])
    made = xgboost.XGBClassifier(
        n_estimators=30, early_stopping_rounds=3, learning_rate=1.0, n_jobs=1
    )
    best = []
    for model in boosted(made, table, y[:80], validation=(held, {"y": y[80:]})):
        best.append(made.best_iteration)
        assert as_all_trees_give(model, table)
        assert as_all_trees_give(model, held)
    assert any(before == after for before, after in pairwise(best))
    assert len(best) < 30
    assert any(first > 0 for first, _ in passes)


class Own(xgboost.XGBClassifier):
    """Somebody's own, which predicts in its own way."""

    def predict_proba(self, x):
        return super().predict_proba(x)[:, ::-1]


ALL_TREES = {
    "dart": lambda: classifier(booster="dart", rate_drop=0.5),
    "of the user's own": lambda: Own(n_estimators=ROUNDS, n_jobs=1),
    "with the user's callbacks": lambda: classifier(
        callbacks=[xgboost.callback.LearningRateScheduler(lambda epoch: 0.5)]
    ),
    "with other updaters": lambda: classifier(
        tree_method="exact", updater="grow_colmaker,prune", verbosity=0
    ),
}


@pytest.mark.parametrize("name", ALL_TREES)
def test_all_trees_where_old_ones_may_change(name, passes):
    x, y = classes()
    table = torch.from_numpy(x)
    for model in boosted(ALL_TREES[name](), table, y):
        assert as_all_trees_give(model, table)
    assert set(passes) == {(0, 0)}


def test_what_has_no_trees():
    x, y = classes()
    table = torch.from_numpy(x)
    assert all(
        as_all_trees_give(model, table)
        for model in boosted(classifier(booster="gblinear", updater="coord_descent"), table, y)
    )


def test_a_table_that_was_changed_is_another_one():
    x, y = classes()
    table, fixed = torch.from_numpy(x.copy()), torch.from_numpy(x)
    for model in boosted(classifier(), fixed, y):
        assert as_all_trees_give(model, table)
        table.mul_(0.9)


def test_an_estimator_in_its_place_is_another_one():
    x, y = classes()
    table = torch.from_numpy(x)
    other = classifier(max_depth=2).fit(x, y)
    for model in boosted(classifier(), table, y):
        assert as_all_trees_give(model, table)
        own, model.estimator = model.estimator, other
        assert as_all_trees_give(model, table)
        model.estimator = own


def test_nothing_is_kept_of_a_table_that_is_gone():
    x, y = classes()
    table = torch.from_numpy(x)
    gone = []
    for model in boosted(classifier(), table, y):
        new = table.clone()
        assert as_all_trees_give(model, new)
        gone.append(weakref.ref(new))
        del new
    assert [each() for each in gone] == [None] * ROUNDS
    assert model.margins is None


@pytest.mark.parametrize("way", ["differs", "raises"])
def test_an_xgboost_that_adds_otherwise_is_found_out(way, monkeypatch):
    own = xgboost.Booster.inplace_predict

    def later(self, data, *, iteration_range, **more):
        if way == "raises" and iteration_range[0] > 0:
            raise xgboost.core.XGBoostError("there are no rounds in it")
        found = own(self, data, iteration_range=iteration_range, **more)
        return found * np.float32(1 + 1e-6) if iteration_range[0] > 0 else found

    monkeypatch.setattr(xgboost.Booster, "inplace_predict", later)
    x, y = classes()
    table = torch.from_numpy(x)
    assert all(as_all_trees_give(model, table) for model in boosted(classifier(), table, y))


def of_arrays(x):
    return x, x.copy()


def of_one_tensor(x):
    table = torch.from_numpy(x)
    return table, table


def of_sparse(x):
    return sparse.csr_matrix(x), sparse.csr_matrix(x)


@pytest.mark.parametrize("given", [of_arrays, of_one_tensor, of_sparse])
def test_the_trainer_hands_over_the_same_tables(tmp_path, given, passes):
    x, y = classes()
    table, held = given(x)
    module = trained(tmp_path, classifier(), train_data=(table, y), val_data=(held, y))
    # A pass a table and round. Of each table the first two rounds, and both in one to compare.
    tables = 1 if table is held else 2
    assert passes.count((ROUNDS - 1, ROUNDS)) == tables
    assert len(passes) <= tables * (ROUNDS + 3)
    assert module.model.margins is None
    expected = classifier().fit(x, y).predict_proba(x)
    loss = -np.log(expected[np.arange(len(y)), y]).mean()
    assert module.seen[-1]["loss/validate"] == pytest.approx(loss, rel=1e-5)
