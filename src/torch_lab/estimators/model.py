"""EstimatorModel: an estimator as the model of a LabModule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_lab.errors import CheckpointMismatch, ConfigurationError
from torch_lab.estimators import arrays, labels, naming, refusals
from torch_lab.estimators.freezing import frozen
from torch_lab.estimators.margins import Margins
from torch_lab.utils.later import Later


class EstimatorModel(nn.Module):
    """Predicts with `estimator`; its state dict holds the fitted estimator as bytes.

    `trust`: whether what only pickle can load may be loaded.
    """

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.estimator = estimator
        self.trust = False
        self.fitted = False
        self.say: Callable[[str], None] = print
        self.task: naming.Task = naming.task_of(estimator)
        self._state: Tensor | None = None
        self._freezing = False
        self.margins: Margins | None = None  # while what is trained predicts again and again
        self._written: set[str] = set()  # what this process itself has saved
        self._said: set[str] = set()

    def forward(self, x: Any) -> Tensor:
        """Probabilities (N, C) where the estimator has them, else its classes or values (N,)."""
        given = arrays.given_to(self.estimator, x)
        with refusals.told(self.estimator), self._telling_unfitted():
            predicted = self._predicted(x, given)
        if predicted.is_floating_point() and bool(predicted.isnan().any()):
            self.say_once(f"{naming.name_of(self.estimator)} predicts NaN for some samples")
        return predicted

    @contextmanager
    def _telling_unfitted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # any: only one that says "not fitted" is told otherwise
            if type(error).__name__ == "NotFittedError" and not self.fitted:
                raise ConfigurationError(
                    f"{naming.name_of(self.estimator)} is not fitted, and no checkpoint was loaded",
                    hint="--checkpoint RUN takes a run's.",
                ) from error
            raise

    def _predicted(self, x: Any, given: Any) -> Tensor:
        if self.task == "classifier" and hasattr(self.estimator, "predict_proba"):
            found = self._asked("predict_proba", x, given)
            return labels.probabilities(found, getattr(self.estimator, "classes_", None))
        values = np.asarray(self._asked("predict", x, given))
        if self.task == "regressor" or (self.task == "other" and values.dtype.kind == "f"):
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        return labels.encoded(values, self.estimator)

    def _asked(self, method: str, x: Any, given: Any) -> Any:
        if self.margins is not None:
            return self.margins.predicted(self.estimator, method, x, given)
        return getattr(self.estimator, method)(given)

    def meet(self, y: Any) -> None:
        """Learn from targets what a class predicts that doesn't say so itself."""
        if self.task == "other":
            floating = y.is_floating_point() if isinstance(y, Tensor) else False
            self.task = naming.task_of(self.estimator, floating=floating)

    def targets(self, y: Any) -> Tensor:
        """Targets as metrics and losses take them: classes as columns of the probabilities."""
        if self.task == "classifier":
            return labels.encoded(y, self.estimator)
        return y if isinstance(y, Tensor) else torch.as_tensor(np.asarray(y))

    def say_once(self, text: str) -> None:
        """Say it the first time."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def changed(self) -> None:
        """The estimator has been trained: what is saved next is made anew."""
        self.fitted, self._state = True, None

    @contextmanager
    def freezing(self) -> Iterator[None]:
        """Within, the state is kept as it is now, and made into bytes when it is written."""
        self._freezing = True
        try:
            yield
        finally:
            self._freezing = False

    def get_extra_state(self) -> Tensor | Later:
        """The fitted estimator as bytes; none before it is fitted."""
        if not self.fitted:
            return torch.zeros(0, dtype=torch.uint8)
        if self._state is None and self._freezing and (then := frozen(self.estimator)) is not None:
            return Later(lambda: self._bytes_of(then()))
        if self._state is None:
            self._state = self._bytes_of(self.estimator)
        return self._state

    def _bytes_of(self, estimator: Any) -> Tensor:
        from torch_lab.estimators import formats

        state = formats.dump(estimator)
        if strangers := formats.strangers(state):
            self.say_once(
                f"{naming.name_of(estimator)} has no safe format"
                f" ({', '.join(strangers[:3])}{', …' * (len(strangers) > 3)}):"
                " loading its checkpoints will need --trust"
            )
        self._written.add(_digest(state))
        return state

    def set_extra_state(self, state: Tensor) -> None:
        """Take the estimator that `get_extra_state` has written."""
        from torch_lab.estimators import formats

        if not state.numel():
            return
        trust = self.trust or _digest(state) in self._written
        self.estimator = formats.load(state, into=self.estimator, trust=trust, say=self.say_once)
        self.fitted, self._state = True, state

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Refuse a network's weights with a word that says so: torch would name each."""
        given = state_dict.get(f"{prefix}_extra_state")
        if given is None:
            raise CheckpointMismatch(
                "the checkpoint holds a network's weights, and the code builds"
                f" {naming.name_of(self.estimator)}, an estimator",
                hint="Name a checkpoint of an estimator, or none to begin anew.",
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _digest(state: Tensor) -> str:
    return hashlib.sha256(state.numpy().data).hexdigest()
