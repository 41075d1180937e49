"""`partial_fit`: each batch of the loader is a step, as often as hparams say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torch_lab.estimators import arrays
from torch_lab.estimators.fitting.at_once import weights
from torch_lab.estimators.model import EstimatorModel


class Passes:
    """Streams the data through partial_fit."""

    epochs = None  # as hparams say
    interruptible = False

    def __init__(self, model: EstimatorModel, classes: Callable[[], np.ndarray]) -> None:
        self._model = model
        self._classes = classes
        self.line = "trained by partial_fit, a batch a step"

    def step(self, x: Any, md: Mapping[str, Any], epoch: int) -> bool:
        """Add a batch."""
        estimator = self._model.estimator
        arguments = [arrays.given_to(estimator, x)]
        if "y" in md:
            arguments.append(arrays.targets_for(md["y"]))
        estimator.partial_fit(*arguments, **self._known(estimator), **weights(md))
        return False

    def _known(self, estimator: Any) -> dict[str, Any]:
        """All classes, which the first batch needn't have."""
        if self._model.fitted or "classes" not in _parameters(estimator.partial_fit):
            return {}
        return {"classes": self._classes()}

    def close(self) -> None:
        """Nothing is open."""


def _parameters(function: Any) -> Mapping[str, Any]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some that are written in C have none
        return {}
