"""Mistakes that are told before anything is fitted: in tables, in batches, in hparams."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from fitted import batches, classes, trained
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torch_lab.data import DataLoader
from torch_lab.errors import ConfigurationError
from torch_lab.experiment import estimating

X, Y = np.zeros((3, 2)), np.zeros(3)
NO_TARGETS = (
    "no \"y\" in the metadata of a batch, which {} needs: it has 'z'\n"
    'Put the target into md["y"]; BaseDataset has it from get_raw_label.'
)


class Own:
    """A class that doesn't say what it predicts: it may want no targets."""

    def fit(self, x, y=None): ...

    def predict(self, x): ...

    def predict_proba(self, x): ...


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ({"train_data": (X[:0], Y[:0])}, "train_data: there are no samples in it"),
        ({"val_data": (X[:0], Y[:0])}, "val_data: there are no samples in it"),
        (
            {"train_data": (X, None)},
            "train_data: there is no y in it, which LogisticRegression needs",
        ),
        (
            {"test_data": (X, {"sample_weight": Y})},
            "test_data: there is no y in it, which LogisticRegression needs",
        ),
        (
            {"estimator": make_pipeline(StandardScaler(), SGDClassifier()), "train_data": (X, {})},
            "train_data: there is no y in it, which Pipeline needs",
        ),
        ({"train_data": (X, {"y": Y, "w": Y[:1]})}, "train_data: 3 samples in X, and 1 in w"),
        (
            {"train_data": (X, {"y": None})},
            "train_data: expected an array of 3 values as y, got a NoneType",
        ),
        ({"train_data": (X, 5)}, "train_data: expected an array of 3 values as y, got a int"),
    ],
)
def test_tables(result, problem):
    found = estimating.problems({"estimator": LogisticRegression(), **result})
    assert list(found) == [problem]


@pytest.mark.parametrize(
    "result",
    [
        {"estimator": KMeans(), "train_data": (X, None), "val_data": (X, None)},
        {"estimator": Own(), "train_data": (X, None)},
        {"predict_data": X},
        {"predict_data": (X[:0], {"name": []})},
    ],
)
def test_tables_that_lack_nothing(result):
    assert not list(estimating.problems({"estimator": LogisticRegression(), **result}))


def unlabeled() -> DataLoader:
    return DataLoader([(np.float32([i, 1]), {"z": i}) for i in range(4)], 2)


@pytest.mark.parametrize(
    ("made", "init", "name"),
    [
        (LogisticRegression(), {}, "train_dataloaders"),
        (SGDClassifier(), {"max_epochs": 2}, "train_dataloaders"),
        (KNeighborsClassifier(), {}, "val_dataloaders"),
        (xgboost.XGBClassifier(n_estimators=2), {}, "val_dataloaders"),
    ],
)
def test_batches_without_targets(tmp_path, made, init, name):
    x, y = classes()
    given = {"train_dataloaders": batches(x[:, :2], y, 60), name: unlabeled()}
    with pytest.raises(ConfigurationError) as caught:
        trained(tmp_path, made, init=init, **given)
    assert str(caught.value) == f"{name}: {NO_TARGETS.format(type(made).__name__)}"


def fewer(samples):
    return np.zeros((len(samples), 2)), {"y": np.zeros(len(samples) - 1)}


def test_batches_with_fewer_targets_than_samples(tmp_path):
    loader = DataLoader(range(4), 2, collate_fn=fewer)
    with pytest.raises(ConfigurationError) as caught:
        trained(tmp_path, LogisticRegression(), train_dataloaders=loader)
    assert str(caught.value) == "train_dataloaders: 4 samples in X, and 2 in y"


class Unread:
    """Data that nobody may look at."""

    def __iter__(self):
        raise AssertionError("data were looked at")


@pytest.mark.parametrize(
    "made", [LogisticRegression(), HistGradientBoostingClassifier(early_stopping=True)]
)
def test_epochs_of_what_has_none_are_refused_before_any_data(tmp_path, made):
    with pytest.raises(ConfigurationError, match=r"^trainer\.init\.max_epochs: .* has no epochs"):
        trained(tmp_path, made, init={"max_epochs": 5}, train_dataloaders=Unread())


def test_what_may_have_epochs_is_told_when_its_samples_are_counted(tmp_path):
    x, y = np.zeros((10_001, 1), np.float32), np.arange(10_001) % 2
    made = HistGradientBoostingClassifier(max_iter=1)  # many samples: it would stop by itself
    with pytest.raises(ConfigurationError, match=r"^trainer\.init\.max_epochs: .* has no epochs"):
        trained(tmp_path, made, init={"max_epochs": 5}, train_data=(x, y))
