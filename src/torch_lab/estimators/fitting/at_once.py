"""`fit`, on all data at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_lab.estimators import arrays
from torch_lab.estimators.model import EstimatorModel


class AtOnce:
    """One epoch of one batch, which holds all data."""

    epochs = 1
    interruptible = True  # nothing of it can be saved before its end

    def __init__(self, model: EstimatorModel, why: str = "") -> None:
        self._model = model
        self.line = f"trained by fit, at once{why}"

    def step(self, x: Any, md: Mapping[str, Any], epoch: int) -> bool:
        """Fit."""
        fit(self._model.estimator, x, md)
        return False

    def close(self) -> None:
        """Nothing is open."""


def fit(estimator: Any, x: Any, md: Mapping[str, Any], **more: Any) -> None:
    """Call the estimator's fit on samples, their targets and their weights, where there are any."""
    arguments = [arrays.given_to(estimator, x)]
    if "y" in md:
        arguments.append(arrays.targets_for(md["y"]))
    estimator.fit(*arguments, **weights(md), **more)


def weights(md: Mapping[str, Any]) -> dict[str, Any]:
    """The samples' weights as fit and partial_fit take them."""
    found = md.get("sample_weight")
    return {} if found is None else {"sample_weight": arrays.targets_for(found)}
