"""`fit`, on all data at once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.estimators import arrays, naming
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
    estimator.fit(*arguments, **weights(estimator, md, "fit"), **more)


def weights(estimator: Any, md: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The samples' weights as the estimator's `method` takes them, fit or partial_fit."""
    found = md.get("sample_weight")
    if found is None:
        return {}
    name = _named_by(estimator)
    if name == "sample_weight" and not _takes(getattr(estimator, method), name):
        raise ConfigurationError(
            f'md["sample_weight"]: {naming.name_of(estimator)} takes no weights',
            hint="Leave them out of the metadata, or take an estimator that weighs its samples.",
        )
    return {name: arrays.targets_for(found)}


def _named_by(estimator: Any) -> str:
    """What `fit` calls the weights: a pipeline's those of its last step, unless it routes them."""
    steps = getattr(estimator, "steps", None)
    if not type(estimator).__module__.startswith(("sklearn.pipeline", "imblearn.pipeline")):
        return "sample_weight"
    from sklearn import get_config

    if not steps or get_config().get("enable_metadata_routing"):
        return "sample_weight"
    name, last = steps[-1]
    return f"{name}__{_named_by(last)}"


def _takes(method: Any, name: str) -> bool:
    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):  # some that are written in C have none
        return True
    return name in parameters or any(each.kind == each.VAR_KEYWORD for each in parameters.values())
