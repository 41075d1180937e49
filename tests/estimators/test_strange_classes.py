"""Classes that a metric doesn't count, or that training had none of: told in the same words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fitted import batches, classes, trained
from sklearn.linear_model import LogisticRegression, SGDClassifier
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    MulticlassAccuracy,
    MulticlassAUROC,
    MultilabelAccuracy,
)

from torch_lab.errors import ConfigurationError
from torch_lab.estimators.scoring import seen_by

NUMBERED = (
    "Give the metric num_classes=4, or let y begin with 0: whole numbers stand for themselves."
)
COUNTERPART = "torchmetrics has its counterpart for several: Multiclass…."
NEITHER = MetricCollection([MulticlassAccuracy(3, ignore_index=-1), MulticlassAUROC(3)])


def scores(columns: int, count: int = 3) -> Tensor:
    return torch.full((count, columns), 1 / columns)


@pytest.mark.parametrize(
    ("metric", "y_pred", "y", "said"),
    [
        (
            MulticlassAccuracy(3),
            scores(4),
            [1, 2, 3],
            f"3 classes, 0 to 2, and y has 1, 2, 3\n{NUMBERED}",
        ),
        (NEITHER, scores(4), [-1, 2, 3], "3 classes, 0 to 2, and y has -1, 2, 3\n"),
        (
            MulticlassAccuracy(3),
            torch.tensor([1, 2, 2]),
            [0, 0, 7],
            "y has 0, 7\nGive the metric num_classes=8.",
        ),
        (
            MulticlassAccuracy(3),
            torch.tensor([1, 2, 3]),
            [1, 1, 2],
            f"Own predicts 1, 2, 3\n{NUMBERED}",
        ),
        (
            MulticlassAccuracy(3),
            scores(4),
            [0, 1, 2],
            "Own has probabilities of 4\nGive the metric num_classes=4.",
        ),
        (
            MulticlassAccuracy(3),
            scores(3),
            [0, 0, -1],
            "y has -1, 0\nLet y begin with 0, or give the metric ignore_index=-1.",
        ),
        (
            BinaryAccuracy(),
            scores(3),
            [1, 2, 2],
            "2 classes, 0 and 1, and y has 1, 2\nLet y be 0 and 1.",
        ),
        (BinaryAccuracy(), torch.tensor([1, -1, 1]), [-1, 1, 1], "y has -1, 1\nLet y be 0 and 1."),
        (BinaryAccuracy(), scores(3), [0, 1, 1], f"Own has probabilities of 3\n{COUNTERPART}"),
        (
            MulticlassAccuracy(3),
            scores(30, 25),
            range(25),
            "18, 19, …\nGive the metric num_classes=30.",
        ),
    ],
)
def test_classes_that_a_metric_does_not_count(metric, y_pred, y, said):
    seen = seen_by({"accuracy": metric}, "Own")["accuracy"]
    with pytest.raises(ConfigurationError) as caught:
        seen.update(y_pred, torch.tensor(y))
    assert str(caught.value).startswith("metric 'accuracy' is of ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "y_pred", "y"),
    [
        (MulticlassAccuracy(3, ignore_index=-1), scores(2), [0, -1, 1]),
        (MulticlassAccuracy(5, ignore_index=9), torch.tensor([4, 3, 0]), [4, 9, 0]),
        (BinaryAccuracy(ignore_index=2), scores(2), [0, 2, 1]),
        (MultilabelAccuracy(2), scores(2), [[0, 1], [1, 1], [0, 0]]),
    ],
)
def test_what_a_metric_is_told_to_ignore_is_no_mistake(metric, y_pred, y):
    seen_by({"accuracy": metric}, "Own")["accuracy"].update(y_pred, torch.tensor(y))


def test_passes_know_the_classes_of_a_table(tmp_path):
    x, y = classes()
    made, accuracy = SGDClassifier(loss="log_loss"), MulticlassAccuracy(4)
    named = {"init": {"max_epochs": 1}, "train_data": (x, np.array(["a", "b", "c"])[y])}
    module = trained(tmp_path, made, metrics={"accuracy": accuracy}, **named)
    assert module.model.estimator.classes_.tolist() == ["a", "b", "c"]
    named["train_data"] = (x, y + 1)
    module = trained(tmp_path, SGDClassifier(), metrics={"accuracy": accuracy}, **named)
    assert module.model.estimator.classes_.tolist() == [0, 1, 2, 3]


def test_a_class_that_passes_were_not_told_of(tmp_path):
    x, y = classes()
    given = {"init": {"max_epochs": 1}, "train_dataloaders": batches(x, y + 1, 60)}
    with pytest.raises(ConfigurationError) as caught:
        trained(tmp_path, SGDClassifier(), metrics={"accuracy": MulticlassAccuracy(3)}, **given)
    assert str(caught.value) == (
        "SGDClassifier was told of the classes 0, 1, 2 before its first batch, and y has 3 (int) as"
        " well\n"
        "They come from num_classes of a metric, else from all of the data. Numbers from 0 on stand"
        " for themselves; texts need metrics without num_classes, or train_data."
    )


def test_a_class_that_training_had_none_of(tmp_path):
    x, y = classes()
    given, held = (x, np.array(["a", "b", "c"])[y]), (x, np.array(["a", "b", "d"])[y])
    with pytest.raises(ConfigurationError) as caught:
        trained(tmp_path, LogisticRegression(), train_data=given, val_data=held)
    assert str(caught.value) == (
        "class 'd' (str) is none of those that were trained on: a, b, c\n"
        "Let the training data have samples of each class."
    )


class Unfitted(LogisticRegression):
    def fit(self, x, y):
        raise AssertionError("it was fitted")


def test_labels_that_a_metric_does_not_count_are_told_before_anything_is_fitted(tmp_path):
    x, y = classes()
    given = {"metrics": {"accuracy": MulticlassAccuracy(3)}, "train_data": (x, y + 1)}
    with pytest.raises(ConfigurationError) as caught:
        trained(tmp_path, Unfitted(), **given)
    assert str(caught.value) == (
        f"metric 'accuracy' is of 3 classes, 0 to 2, and y has 1, 2, 3\n{NUMBERED}"
    )
    assert caught.value.__notes__ == [
        "in metric 'accuracy' (train), before training: y int64 (120,) of 1 to 3"
    ]
    given["train_data"] = (x, np.array([-1, 0, 1])[y])  # counted, in the order of classes_
    trained(tmp_path, LogisticRegression(), **given)
