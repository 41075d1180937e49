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
from sklearn.preprocessing import FunctionTransformer, StandardScaler

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


# -- what a library refuses ------------------------------------------------------------------

NAN = np.array([[0.0], [1.0], [np.nan]], dtype=np.float32)


@pytest.mark.parametrize(
    ("estimator", "x", "y", "words"),
    [
        (
            LogisticRegression(C=-1),
            NAN[:2],
            [0, 1],
            "LogisticRegression refuses what it was given: The 'C' parameter of LogisticRegression"
            " must be a float in the range (0.0, inf]. Got -1 instead.\n"
            "Mend the data, or what the estimator is made with.",
        ),
        (
            LogisticRegression(),
            NAN,
            [0, 1, 0],
            "LogisticRegression refuses what it was given: Input X contains NaN.\n"
            "LogisticRegression does not accept missing values",
        ),
        (
            xgboost.XGBRegressor(n_jobs=1),
            NAN,
            NAN[:, 0],
            "XGBRegressor refuses what it was given: Label contains NaN, infinity or a value too"
            " large.\nMend the data, or what the estimator is made with.",
        ),
        (
            xgboost.XGBClassifier(n_jobs=1),
            NAN[:2],
            ["a", "b"],
            "XGBClassifier refuses what it was given: Invalid classes inferred from unique values"
            " of `y`.  Expected: [0 1], got ['a' 'b']\n"
            "XGBoost counts classes from 0 on: scikit-learn's LabelEncoder makes them so.",
        ),
    ],
    ids=["parameter", "gaps", "xgboost", "classes"],
)
def test_what_a_library_refuses_to_fit(tmp_path, estimator, x, y, words):
    with pytest.raises(ConfigurationError) as raised:
        trained(tmp_path, estimator, train_data=(x, np.asarray(y)))
    assert str(raised.value).startswith(words)


def test_what_a_library_refuses_a_batch_of(tmp_path):
    loader = batches(np.concatenate([NAN, NAN]), np.arange(6) % 2, 6)
    with pytest.raises(ConfigurationError, match=r"SGDClassifier refuses .* Input X contains NaN"):
        trained(tmp_path, SGDClassifier(), init={"max_epochs": 1}, train_dataloaders=loader)


def test_what_a_library_refuses_to_predict(tmp_path):
    x, y = classes()
    with pytest.raises(ConfigurationError) as raised:
        trained(tmp_path, LogisticRegression(), train_data=(x, y), val_data=(x[:, :3], y))
    assert str(raised.value).startswith(
        "LogisticRegression refuses what it was given: X has 3 features, but LogisticRegression is"
        " expecting 8 features as input."
    )


def test_what_the_users_own_code_refuses_keeps_its_traceback(tmp_path):
    def refuse(x):
        raise ValueError("not these")

    own = make_pipeline(FunctionTransformer(refuse), LogisticRegression())
    with pytest.raises(ValueError, match="not these"):
        trained(tmp_path, own, train_data=classes())
