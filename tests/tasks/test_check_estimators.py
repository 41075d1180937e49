"""`lab check` on estimators: what training would say is found once, in the same words."""

from __future__ import annotations

from checked_project import EPOCHS, Look, look, one

__all__ = ["look"]

MADE = """
import numpy as np
from sklearn.linear_model import LogisticRegression


def train_config(config):
    x = np.random.default_rng(0).normal(size=(60, 4))
    y = np.arange(60) % 3 + 1
    metrics = {"accuracy": MulticlassAccuracy(3)}
    return {"estimator": LogisticRegression(), "train_data": (x, y), "metrics": metrics}
"""


def test_labels_that_a_metric_does_not_count(look: Look) -> None:
    found = one(look(MADE, init="{}"), "error", "metric")
    assert found.message.splitlines()[0] == (
        "train: metric 'accuracy' is of 3 classes, 0 to 2, and y has 1, 2, 3"
    )
    assert found.hint is not None
    assert found.hint.startswith("Give the metric num_classes=4")


def test_epochs_of_what_has_none(look: Look) -> None:
    found = one(look(MADE, init=EPOCHS), "error", "estimator")
    assert "trainer.init.max_epochs: LogisticRegression is trained by fit" in found.message
