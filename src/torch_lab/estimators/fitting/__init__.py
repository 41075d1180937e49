"""The ways of training an estimator: at once, in passes over the data, or round by round."""

from __future__ import annotations

from torch_lab.estimators.fitting.choosing import (
    Fitter,
    Held,
    by_rounds,
    choose,
    goes_in_passes,
    passes,
    require_epochs,
)

__all__ = [
    "Fitter",
    "Held",
    "by_rounds",
    "choose",
    "goes_in_passes",
    "passes",
    "require_epochs",
]
