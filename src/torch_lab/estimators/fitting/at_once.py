"""`fit`, on all data at once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.estimators import arrays, naming, refusals
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
    weighed = weights(estimator, md, "fit")
    with refusals.told(estimator):
        estimator.fit(*arguments, **weighed, **more)


def weights(estimator: Any, md: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The samples' weights as the estimator's `method` takes them, fit or partial_fit."""
    found = md.get("sample_weight")
    if found is None:
        return {}
    before, weighing = _weighing(estimator)
    known = parameters(getattr(weighing, method, None))
    if known and "sample_weight" not in known and not any(map(_open, known.values())):
        raise ConfigurationError(
            f'md["sample_weight"]: {naming.name_of(weighing)} takes no weights',
            hint="Leave them out of the metadata, or take an estimator that weighs its samples.",
        )
    return {f"{before}sample_weight": arrays.targets_for(found)}


def _weighing(estimator: Any) -> tuple[str, Any]:
    """Who gets the weights, and what `fit` of the estimator wants before their name.

    A pipeline passes on what is named after a step, a search what its estimator takes.
    """
    module = type(estimator).__module__
    if module.startswith("sklearn.model_selection.") and hasattr(estimator, "estimator"):
        return _weighing(estimator.estimator)
    if not module.startswith(("sklearn.pipeline", "imblearn.pipeline")) or not estimator.steps:
        return "", estimator
    from sklearn import get_config

    if get_config().get("enable_metadata_routing"):
        return "", estimator
    name, last = estimator.steps[-1]
    before, weighing = _weighing(last)
    return f"{name}__{before}", weighing


def parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """Those of a function; some that are written in C tell none."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _open(parameter: inspect.Parameter) -> bool:
    return parameter.kind == parameter.VAR_KEYWORD
