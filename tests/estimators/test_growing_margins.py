"""What scikit-learn's boosting predicts after each round, by the new trees, is what all give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fitted import classes, values
from scipy import sparse
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression

from torch_lab.estimators.fitting.rounds import Growing
from torch_lab.estimators.margins import growing, growing_of
from torch_lab.estimators.model import EstimatorModel

ROUNDS = 6


def several():
    return classes()


def two():
    return classes(count=2)


def amounts():
    x, y = values()
    return x, np.abs(y) + 0.1


def gaps():
    x, y = classes()
    return np.where(np.random.default_rng(0).random(x.shape) < 0.3, np.nan, x).astype("f4"), y


def rows():
    x, y = classes()
    return sparse.csr_matrix(np.where(x > 0, x, 0)), y


def kinds():
    x, y = classes()
    return np.floor(np.abs(x)).astype("f4"), y


HISTOGRAMS = HistGradientBoostingClassifier, HistGradientBoostingRegressor
ADDED = {
    "histograms": (HISTOGRAMS[0], {"max_features": 0.5}, several),
    "histograms, two classes": (HISTOGRAMS[0], {}, two),
    "histograms, gaps": (HISTOGRAMS[0], {}, gaps),
    "histograms, kinds": (HISTOGRAMS[0], {"categorical_features": [0, 2]}, kinds),
    "histograms, values": (HISTOGRAMS[1], {}, values),
    "histograms, amounts": (HISTOGRAMS[1], {"loss": "gamma"}, amounts),
    "histograms, quantile": (HISTOGRAMS[1], {"loss": "quantile", "quantile": 0.8}, values),
    "stages": (GradientBoostingClassifier, {"subsample": 0.7}, several),
    "stages, two classes": (GradientBoostingClassifier, {"loss": "exponential"}, two),
    "stages, sparse": (GradientBoostingClassifier, {}, rows),
    "stages, begun": (GradientBoostingClassifier, {"init": LogisticRegression()}, several),
    "stages, values": (GradientBoostingRegressor, {}, values),
    "stages from zero": (GradientBoostingRegressor, {"init": "zero"}, values),
}


@pytest.fixture
def added(monkeypatch):
    """From and to which round trees were gone through."""
    found = []

    def spying(kind):
        own = kind.margin

        def margin(self, given, first, last, base):
            found.append((first, last))
            return own(self, given, first, last, base)

        monkeypatch.setattr(kind, "margin", margin)

    spying(growing.Histograms)
    spying(growing.Stages)
    return found


def grown(kind, options, x, y):
    """The model after each round."""
    parameter = "max_iter" if kind in HISTOGRAMS else "n_estimators"
    model = EstimatorModel(kind(random_state=0, **{parameter: ROUNDS}, **options))
    fitting = Growing(model, parameter, None)
    for epoch in range(fitting.epochs):
        fitting.step(x, {"y": y}, epoch)
        model.changed()
        yield model
    fitting.close()


@pytest.mark.parametrize("name", ADDED)
def test_the_new_trees_alone(name, added):
    kind, options, data = ADDED[name]
    x, y = data()
    table = torch.from_numpy(x) if isinstance(x, np.ndarray) else x
    trees = []
    for model in grown(kind, options, table, y):
        added.clear()
        expected = EstimatorModel(model.estimator)(table)
        found = model(table)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
        trees += added
    # The second time all trees are gone through, too, and both compared.
    assert trees == [(0, 1), *((done, done + 1) for done in range(1, ROUNDS))]
    assert model.margins is None


def by_itself(kind, options, x, y):
    """The estimator, grown by scikit-learn's warm starts alone."""
    parameter = "max_iter" if kind in HISTOGRAMS else "n_estimators"
    made = kind(random_state=0, warm_start=True, **options)
    for rounds in range(1, ROUNDS + 1):
        made.set_params(**{parameter: rounds}).fit(x, y)
    return made


@pytest.mark.parametrize("name", ADDED)
def test_a_warm_start_goes_on_from_the_sum_before(name, added):
    kind, options, data = ADDED[name]
    x, y = data()
    trees = []
    for model in grown(kind, options, x, y):
        trees.append([*added])
        added.clear()
        assert "_raw_predict" not in vars(model.estimator)
    # Of the first sum and of the second all trees are asked; the second is held against new ones.
    assert trees == [[], [], *([(done, done + 1)] for done in range(1, ROUNDS - 1))]
    assert predicted(model.estimator, x) == predicted(by_itself(kind, options, x, y), x)


def predicted(estimator, x):
    method = getattr(estimator, "predict_proba", estimator.predict)
    return method(x).tolist()


@pytest.mark.parametrize("kind", [HISTOGRAMS[0], GradientBoostingClassifier])
def test_sums_that_are_not_what_all_trees_give_are_dropped(kind, monkeypatch):
    own = growing_of(kind()).margin
    monkeypatch.setattr(type(own.__self__), "margin", lambda self, *of: own.__func__(self, *of) + 1)
    x, y = classes()
    *_, model = grown(kind, {}, x, y)
    assert predicted(model.estimator, x) == predicted(by_itself(kind, {}, x, y), x)


def test_a_library_that_is_made_otherwise_is_found_out(monkeypatch):
    monkeypatch.setattr(growing.Stages, "predicted", lambda *_: (_ for _ in ()).throw(KeyError()))
    x, y = classes()
    table = torch.from_numpy(x)
    for model in grown(GradientBoostingClassifier, {}, table, y):
        assert torch.equal(model(table), EstimatorModel(model.estimator)(table))
