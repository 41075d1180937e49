"""Batches of loaders as the arrays that estimators take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from torch_lab.errors import ConfigurationError
from torch_lab.estimators import naming


def given_to(estimator: Any, x: Any) -> Any:
    """The samples of a batch as an estimator takes them; tables and sparse matrices as they are."""
    if isinstance(x, Mapping):
        raise ConfigurationError(
            f"{naming.name_of(estimator)}: the samples of a batch are a dict of"
            f" {', '.join(map(repr, x))}",
            hint="An estimator takes one array of samples: let the dataset return one.",
        )
    array = x.numpy(force=True) if isinstance(x, Tensor) else x
    if isinstance(array, (list, tuple)):
        array = np.asarray(array)
    if not isinstance(array, np.ndarray) or array.ndim == 2 or not naming.takes_rows(estimator):
        return array
    if array.ndim == 1 and array.dtype.kind in "OUS":  # texts, for a vectorizer to take apart
        return array
    return array.reshape(len(array), -1)


def targets_for(y: Any) -> np.ndarray:
    """Targets as an estimator takes them: (N,), or (N, outputs) where there are several."""
    values = y.numpy(force=True) if isinstance(y, Tensor) else np.asarray(y)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def rows(x: Any) -> int:
    """How many samples there are."""
    shape = getattr(x, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else len(x)
