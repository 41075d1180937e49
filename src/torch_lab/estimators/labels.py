"""Classes as metrics and losses know them: numbers that count the columns of probabilities.

Classes that are whole numbers from 0 on stand for themselves: of [0, 2, 5] the probabilities are
columns 0, 2 and 5, and the others hold zeros. Any other classes, texts or -1 and 1, are counted in
the order of the estimator's `classes_`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_lab.errors import ConfigurationError
from torch_lab.utils.text import shown

_SHOWN = 20


def probabilities(found: Any, classes: Any) -> Tensor:
    """What predict_proba returned as (N, C), or (N, C, outputs) where there are several."""
    if not isinstance(found, list):
        return _columns(np.asarray(found), classes)
    several = classes if isinstance(classes, list) else [None] * len(found)
    outputs = [_columns(np.asarray(f), c) for f, c in zip(found, several, strict=True)]
    width = max(each.shape[1] for each in outputs)
    padded = [torch.nn.functional.pad(each, (0, width - each.shape[1])) for each in outputs]
    return torch.stack(padded, dim=-1)


def _columns(found: np.ndarray, classes: Any) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))
    known = None if classes is None else np.asarray(classes)
    if known is None or known.ndim != 1 or len(known) != values.shape[-1] or not by_value(known):
        return values
    wanted = known.astype(np.int64)
    if wanted[-1] == len(wanted) - 1:
        return values
    wide = values.new_zeros(len(values), int(wanted[-1]) + 1)
    wide[:, torch.from_numpy(wanted)] = values
    return wide


def by_value(classes: np.ndarray) -> bool:
    """Whether classes are whole numbers from 0 on, which stand for themselves."""
    if classes.dtype.kind not in "iuf":
        return False
    return bool(
        len(classes) == 0 or ((classes >= 0).all() and (classes == np.floor(classes)).all())
    )


def listed(classes: Any) -> str:
    """The first of some classes."""
    return ", ".join(map(str, classes[:_SHOWN])) + ", …" * (len(classes) > _SHOWN)


def encoded(y: Any, estimator: Any) -> Tensor:
    """Classes as whole numbers; in the shape that they have, but (N,) for (N, 1)."""
    values = y.numpy(force=True) if isinstance(y, Tensor) else np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    classes = getattr(estimator, "classes_", None)
    known = None if classes is None or isinstance(classes, list) else np.asarray(classes)
    if known is None or by_value(known):
        return _as_they_are(values, estimator)
    return torch.from_numpy(_positions(values, known))


def _as_they_are(values: np.ndarray, estimator: Any) -> Tensor:
    if values.dtype.kind == "b" or (values.dtype.kind in "iuf" and _whole(values)):
        return torch.from_numpy(values.astype(np.int64))
    raise ConfigurationError(
        f"{type(estimator).__name__}: its classes are {shown(values.tolist()[0])} and the like, and"
        " it has no classes_ that say their order",
        hint="Let y be whole numbers from 0 on, or let fit set classes_, sorted.",
    )


def _whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "iu" or bool((values == np.floor(values)).all())


def _positions(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    order = np.argsort(classes)
    places = np.searchsorted(classes, values, sorter=order).clip(max=len(classes) - 1)
    found = order[places]
    strange = classes[found] != values
    if strange.any():
        raise ConfigurationError(
            f"class {shown(values[strange].tolist()[0])} is none of those that were trained on:"
            f" {listed(classes)}",
            hint="Let the training data have samples of each class.",
        )
    places_of: np.ndarray = found.astype(np.int64)
    return places_of
