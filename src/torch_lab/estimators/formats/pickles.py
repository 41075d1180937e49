"""Estimators that no safe format holds: pickled, and read only with trust."""

from __future__ import annotations

import io
import pickle
from typing import Any

from torch_lab.errors import CheckpointDamaged, SaveFailed
from torch_lab.estimators.formats.envelope import PICKLE, Envelope
from torch_lab.estimators.formats.names import class_name, own_classes


def pack(estimator: Any) -> Envelope:
    """Pickle it; SaveFailed names what has no pickle."""
    try:
        payload = pickle.dumps(estimator, protocol=5)
    except Exception as error:  # any: people's classes raise what they like when pickled
        raise SaveFailed(
            f"{type(estimator).__name__} can't be saved: {error}",
            hint="Use functions and classes of a module in it, no lambdas and nothing local.",
        ) from error
    name = class_name(estimator)
    return Envelope(PICKLE, name, payload, strangers=[name.replace(":", ".")])


def load(saved: Envelope, into: Any) -> Any:
    """Unpickle what is trusted: this runs whatever code the file asks for."""
    try:
        return _Unpickler(saved.payload, own_classes(into)).load()
    except Exception as error:  # any: a strange pickle raises whatever its classes do
        raise CheckpointDamaged(f"the pickled estimator can't be read: {error}") from error


class _Unpickler(pickle.Unpickler):
    """Takes the classes of the estimator at hand for those of the same name."""

    def __init__(self, payload: bytes, classes: dict[tuple[str, str], type]) -> None:
        super().__init__(io.BytesIO(payload))
        self._classes = classes

    def find_class(self, module: str, name: str) -> Any:
        return self._classes.get((module, name)) or super().find_class(module, name)
