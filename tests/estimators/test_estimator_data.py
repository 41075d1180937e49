"""Labels, metrics and data of estimators: what each gets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fitted import batches, classes, configured, trained, values
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from torch.utils.data import IterableDataset
from torchmetrics.classification import (
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassAUROC,
    MultilabelAccuracy,
)
from torchmetrics.regression import MeanAbsoluteError

from torch_lab.data import DataLoader
from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.estimators import EstimatorModel, memory
from torch_lab.estimators.collecting import collected
from torch_lab.estimators.preparing import settled
from torch_lab.experiment import estimating
from torch_lab.utils.launched import Launch


def told(function, *args, **kwargs) -> str:
    """What an error in the configuration, or in what was asked, says."""
    with pytest.raises((ConfigurationError, UsageError)) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_classes_that_leave_numbers_out_keep_their_columns():
    x, y = classes()
    model = EstimatorModel(LogisticRegression().fit(x, np.array([0, 2, 5])[y]))
    found = model(torch.from_numpy(x))
    assert found.shape == (len(x), 6)
    assert found.dtype == torch.float32
    assert not found[:, [1, 3, 4]].any()
    expected = model.estimator.predict_proba(x).astype(np.float32)
    assert np.array_equal(found[:, [0, 2, 5]].numpy(), expected)
    assert model.targets(torch.tensor([5, 0])).tolist() == [5, 0]


@pytest.mark.parametrize("names", [["ant", "bee", "cat"], [-1, 0, 1]])
def test_other_classes_are_counted_in_their_order(tmp_path, names):
    x, y = classes()
    labels = np.array(names)[y]
    module = trained(
        tmp_path,
        LogisticRegression(),
        train_data=(x, labels),
        val_data=(x, labels),
        metrics={"accuracy": MulticlassAccuracy(3, average="micro")},
    )
    by_hand = LogisticRegression().fit(x, labels)
    assert module.seen[0]["accuracy/validate"] == pytest.approx(by_hand.score(x, labels))
    with pytest.raises(ConfigurationError, match="is none of those that were trained on"):
        module.model.targets(["dog"] if names[0] == "ant" else [7])


def test_a_binary_metric_gets_the_probability_of_class_1(tmp_path):
    x, y = classes(count=2)
    module = trained(
        tmp_path,
        LogisticRegression(),
        train_data=(x, y),
        val_data=(x, y),
        metrics={"area": BinaryAUROC()},
    )
    score = torch.from_numpy(LogisticRegression().fit(x, y).predict_proba(x)[:, 1])
    expected = BinaryAUROC()(score.float(), torch.from_numpy(y))
    assert module.seen[0]["area/validate"] == pytest.approx(float(expected))


def test_a_metric_of_scores_where_there_are_none_is_named(tmp_path):
    area = {"area": MulticlassAUROC(3)}
    assert told(trained, tmp_path, LinearSVC(), train_data=classes(), metrics=area) == (
        "metric 'area' needs probabilities, and LinearSVC predicts classes alone: it has no"
        " predict_proba\n"
        "Leave the metric out, or let the estimator have probabilities:"
        " sklearn.calibration.CalibratedClassifierCV gives them to any classifier."
    )


def test_a_binary_metric_of_three_classes_is_named(tmp_path):
    area = {"area": BinaryAUROC()}
    assert told(trained, tmp_path, LogisticRegression(), train_data=classes(), metrics=area) == (
        "metric 'area' is of 2 classes, 0 and 1, and y has 0, 1, 2\n"
        "torchmetrics has its counterpart for several: Multiclass…."
    )


def test_several_labels_of_a_sample(tmp_path):
    x, y = classes()
    labels = np.stack([y == 0, y == 1], axis=1).astype(int)
    module = trained(
        tmp_path,
        KNeighborsClassifier(),
        train_data=(x, labels),
        val_data=(x, labels),
        metrics={"accuracy": MultilabelAccuracy(2)},
    )
    right = (KNeighborsClassifier().fit(x, labels).predict(x) == labels).mean()
    assert module.seen[0]["accuracy/validate"] == pytest.approx(right)


def test_several_values_of_a_sample(tmp_path):
    x, _ = classes()
    y = np.stack([x[:, 0] * 2, x[:, 1] - 1], axis=1)
    module = trained(
        tmp_path,
        LinearRegression(),
        train_data=(x, y),
        val_data=(x, y),
        metrics={"error": MeanAbsoluteError()},
    )
    assert module.seen[0]["error/validate"] < 1e-4
    assert module.seen[0]["loss/validate"] < 1e-6


def test_sparse_samples(tmp_path):
    x, y = classes()
    module = trained(
        tmp_path, LogisticRegression(), train_data=(sparse.csr_matrix(x), y), val_data=(x, y)
    )
    expected = LogisticRegression().fit(sparse.csr_matrix(x), y)
    assert np.array_equal(module.model.estimator.coef_, expected.coef_)


@pytest.mark.parametrize("form", ["coo", "bsr", "lil"])
def test_sparse_samples_of_any_format(tmp_path, form):
    x, y = classes()
    given = sparse.csr_matrix(x).asformat(form)
    module = trained(tmp_path, LogisticRegression(), train_data=(given, y), val_data=(given, y))
    expected = LogisticRegression().fit(given, y).predict_proba(given)
    assert np.array_equal(module.model.estimator.predict_proba(given), expected)


TEXTS = ["a good film", "a bad film", "good and long", "bad and long"] * 5
NAMES = ["yes", "no"] * 10


@pytest.mark.parametrize(
    "data",
    [
        {"train_data": (TEXTS, NAMES), "val_data": (np.array(TEXTS), NAMES)},
        {"train_data": (np.array(TEXTS, dtype=object), NAMES)},
        {
            "train_dataloaders": DataLoader(
                [(text, {"y": name}) for text, name in zip(TEXTS, NAMES, strict=True)], 3
            )
        },
    ],
    ids=["lists", "objects", "loader"],
)
def test_texts_reach_a_vectorizer(tmp_path, data):
    def made():
        return make_pipeline(TfidfVectorizer(), LogisticRegression())

    module = trained(tmp_path, made(), **data)
    expected = made().fit(TEXTS, NAMES).predict_proba(TEXTS)
    assert np.array_equal(module.model.estimator.predict_proba(TEXTS), expected)


class Mean(BaseEstimator):
    """Of a class that derives from scikit-learn's, and doesn't say what it predicts."""

    def fit(self, x, y):
        self.mean_ = np.mean(y)
        return self

    def predict(self, x):
        return np.full(len(x), self.mean_)


class Most(BaseEstimator, ClassifierMixin):
    def fit(self, x, y):
        self.most_ = np.bincount(y).argmax()
        return self

    def predict(self, x):
        return np.full(len(x), self.most_)


@pytest.mark.parametrize("around", [lambda own: own, make_pipeline], ids=["alone", "pipeline"])
def test_own_classes_that_do_not_say_what_they_predict(tmp_path, around):
    x, y = values()
    metrics = {"mae": MeanAbsoluteError()}
    last = trained(tmp_path, around(Mean()), train_data=(x, y), metrics=metrics).last
    assert last["loss/train"] == pytest.approx(np.var(y), rel=1e-5)
    assert last["mae/train"] == pytest.approx(np.abs(y - np.mean(y)).mean(), rel=1e-5)
    x, y = classes()
    last = trained(tmp_path, around(Most()), train_data=(x, y)).last
    assert last["loss/train"] == pytest.approx(np.mean(y != np.bincount(y).argmax()))


def test_targets_of_what_predicts_neither_classes_nor_values(tmp_path):
    x, _ = classes()
    module = trained(tmp_path, LocalOutlierFactor(novelty=True), train_data=(x, np.ones(len(x))))
    assert module.last["loss/train"] == pytest.approx(
        -module.model.estimator.score_samples(x).mean(), rel=1e-5
    )


def test_what_is_not_fitted_is_told():
    assert told(EstimatorModel(RandomForestClassifier()), torch.zeros(2, 3)) == (
        "RandomForestClassifier is not fitted, and no checkpoint was loaded\n"
        "--checkpoint RUN takes a run's."
    )


def test_nan_among_the_predictions_is_told_once():
    class Silent:
        def fit(self, x, y): ...

        def predict(self, x):
            return np.array([np.nan] * len(x))

    said = []
    model = EstimatorModel(Silent())
    model.say = said.append
    model(torch.zeros(2, 1)), model(torch.zeros(2, 1))
    assert said == ["Silent predicts NaN for some samples"]


def test_memory_that_will_not_do_is_told_before_it_runs_out(monkeypatch):
    x, y = classes()
    drawn = []

    class Counted(IterableDataset):
        def __iter__(self):
            for row, label in zip(x, y.tolist(), strict=True):
                drawn.append(label)
                yield row, {"y": label}

        def __len__(self):
            return len(x)

    monkeypatch.setattr(memory, "available", lambda: 2 * x.nbytes - 1)
    loader = DataLoader(Counted(), batch_size=10)
    assert told(collected, loader, 0, None, "train_dataloaders") == (
        "train_dataloaders: an estimator needs all samples at once, 3.8 kB of them and as much"
        " again while they are put together; 7.7 kB of memory are free\n"
        "Fewer samples (trainer.init.limit_train_batches), smaller ones, or an estimator with"
        " partial_fit and trainer.init.max_epochs, which takes batch by batch."
    )
    assert len(drawn) == 30  # three batches say what all will be
    assert len(collected(loader, 0, 6, "train_dataloaders")[0]) == 60
    assert memory.size_of(sparse.csr_matrix(np.eye(4))) == 4 * 8 + 4 * 4 + 5 * 4


def test_free_memory_is_what_the_machine_says():
    free = memory.available()
    assert free is None or free > 2**20


@pytest.mark.parametrize(
    ("limit", "count"), [(2, 60), (0.5, 60), (0.01, 30), (1.0, 120), (None, 120), (9, 120)]
)
def test_limits_count_batches(limit, count):
    x, y = classes()
    found, md = collected(batches(x, y, 30), 0, limit, "train_dataloaders", in_order=True)
    assert len(found) == len(md["y"]) == count


def test_loaders_that_will_not_do():
    x, y = classes()
    loader = batches(x, y, 30)
    assert told(collected, [loader, loader], 0, None, "train_dataloaders") == (
        "train_dataloaders: several loaders; an estimator is trained on one\n"
        "torch.utils.data.ConcatDataset makes one dataset of several."
    )
    empty = DataLoader(loader.dataset, 500, drop_last=True)
    assert told(collected, empty, 0, None, "train_dataloaders") == (
        "train_dataloaders: there is no batch in them\n"
        "The dataset is empty, or smaller than a batch where drop_last=True."
    )
    pair = DataLoader([({"a": 1.0}, {"y": 1})])
    assert told(collected, pair, 0, None, "train_dataloaders") == (
        "train_dataloaders: the samples of a batch are a dict of 'a'\n"
        "An estimator takes one array of samples: let the dataset return one."
    )
    assert told(EstimatorModel(LogisticRegression()), {"a": 1.0}) == (
        "LogisticRegression: the samples of a batch are a dict of 'a'\n"
        "An estimator takes one array of samples: let the dataset return one."
    )


class Pieces:
    """A loader that is no DataLoader."""

    def __iter__(self):
        yield np.zeros((1, 2)), {"y": [0]}


def test_classes_that_cannot_be_known(tmp_path):
    made, once = SGDClassifier(), {"max_epochs": 1}
    assert told(trained, tmp_path, made, init=once, train_dataloaders=Pieces()) == (
        "train_dataloaders: which classes there are can't be seen before the first batch\n"
        "Give a metric with num_classes, such as MulticlassAccuracy(10)."
    )


def test_texts_as_classes_of_what_has_no_order_of_them():
    class Caller:
        def fit(self, x, y): ...

        def predict(self, x):
            return np.array(["ant"] * len(x))

    assert told(EstimatorModel(Caller()), torch.zeros(2, 1)) == (
        "Caller: its classes are 'ant' (str) and the like, and it has no classes_ that"
        " say their order\n"
        "Let y be whole numbers from 0 on, or let fit set classes_, sorted."
    )


def test_what_has_no_meaning_in_hparams(tmp_path):
    made = LogisticRegression()
    epochs, devices = {"max_epochs": 5}, {"devices": 2}
    assert told(trained, tmp_path, made, init=epochs, train_data=classes()) == (
        "trainer.init.max_epochs: LogisticRegression is trained by fit, at once, and has no epochs"
        "\nRemove it; how long LogisticRegression trains is said by its own parameters."
    )
    assert told(trained, tmp_path, made, init=devices, train_data=classes()) == (
        "trainer.init.devices: 2; an estimator is trained by one process\n"
        "Its own n_jobs, where it has one, says how many cores it takes."
    )
    torchrun = Launch("torchrun", 1, 2, 1, 2, 0, 1, "localhost", 9)
    assert told(settled, {}, print, torchrun) == (
        "an estimator takes one process, and torchrun has started 2\nStart the command by itself."
    )
    module = trained(tmp_path, made, init={"precision": "16-mixed"}, train_data=classes())
    assert module.said[0] == "trainer.init.precision has no meaning for an estimator"
    assert told(configured(made, train_data=classes()).module.training_step, (0, {"y": 0}), 0) == (
        "an estimator's data are collected before a Trainer gets them: `train` does that"
    )


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ({"estimator": LogisticRegression}, "estimator: expected an object with fit and predict"),
        ({"estimator": 3}, "as scikit-learn's have, got a builtins.int"),
        ({"module": 1}, "module: it is trained in place of an estimator; remove it"),
        ({"train_data": [1]}, "train_data: expected a pair (X, y), got a list"),
        ({"train_data": (np.zeros(3), np.zeros(2))}, "train_data: 3 samples in X, and 2 in y"),
        ({"train_data": (3, [1])}, "train_data: expected an array of samples first, got a int"),
        ({"train_dataloaders": [], "train_data": ([1], [1])}, "it stands in for train_dataloaders"),
        ({"loss_function": 3}, "loss_function: expected a function of (y_pred, y), got 3 (int)"),
    ],
)
def test_mistakes_in_a_configuration(result, problem):
    given = {"estimator": LogisticRegression(), **result}
    assert any(problem in each for each in estimating.problems(given))


def test_a_loss_of_ones_own_sees_probabilities(tmp_path):
    x, y = classes()

    def brier(y_pred, y):
        return ((y_pred - torch.nn.functional.one_hot(y, 3)) ** 2).sum(dim=1).mean()

    module = trained(
        tmp_path, LogisticRegression(), train_data=(x, y), val_data=(x, y), loss_function=brier
    )
    found = torch.from_numpy(LogisticRegression().fit(x, y).predict_proba(x))
    assert module.seen[0]["loss/validate"] == pytest.approx(float(brier(found, torch.tensor(y))))
    assert configured(LogisticRegression(), train_data=(x, y)).module.way == ""
