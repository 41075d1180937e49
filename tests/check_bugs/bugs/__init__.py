"""The bugs, by what is wrong; each module has a tuple BUGS."""

from __future__ import annotations

from check_bugs.bugs import (
    data,
    estimators,
    everyday,
    hyperparameters,
    losses,
    metrics,
    networks,
    optimizing,
    shapes,
)
from check_bugs.planting import Bug

PARTS = (hyperparameters, data, shapes, losses, networks, metrics, optimizing, everyday, estimators)
BUGS: tuple[Bug, ...] = tuple(bug for part in PARTS for bug in part.BUGS)
