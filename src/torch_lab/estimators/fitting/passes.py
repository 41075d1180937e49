"""`partial_fit`: each batch of the loader is a step, as often as hparams say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torch_lab.errors import ConfigurationError
from torch_lab.estimators import arrays, labels, naming, refusals
from torch_lab.estimators.collecting import require_targets
from torch_lab.estimators.fitting.at_once import parameters, weights
from torch_lab.estimators.model import EstimatorModel
from torch_lab.utils.text import shown


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
        require_targets(estimator, x, md, "train_dataloaders")
        arguments = [arrays.given_to(estimator, x)]
        if "y" in md:
            arguments.append(arrays.targets_for(md["y"]))
        known = self._known(estimator)
        weighed = weights(estimator, md, "partial_fit")
        with refusals.told(estimator):
            try:
                estimator.partial_fit(*arguments, **known, **weighed)
            except ValueError:
                if len(arguments) > 1:
                    self._require_known(arguments[1], known.get("classes"))
                raise
        return False

    def _known(self, estimator: Any) -> dict[str, Any]:
        """All classes, which the first batch needn't have."""
        if self._model.fitted or "classes" not in parameters(estimator.partial_fit):
            return {}
        return {"classes": self._classes()}

    def _require_known(self, y: np.ndarray, classes: Any) -> None:
        """Refuse a class that the estimator wasn't told of before its first batch."""
        known = getattr(self._model.estimator, "classes_", None) if classes is None else classes
        if known is None or isinstance(known, list):
            return
        strange = ~np.isin(y, known)
        if strange.any():
            name = naming.name_of(self._model.estimator)
            raise ConfigurationError(
                f"{name} was told of the classes {labels.listed(known)} before its first batch, and"
                f" y has {shown(y[strange].tolist()[0])} as well",
                hint="They come from num_classes of a metric, else from all of the data. Numbers"
                " from 0 on stand for themselves; texts need metrics without num_classes, or"
                " train_data.",
            )

    def close(self) -> None:
        """Nothing is open."""
