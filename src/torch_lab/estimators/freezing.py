"""A fitted ensemble as it is now, while more is added to it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def frozen(estimator: Any) -> Any | None:
    """A copy that shares the members with it, which nothing changes once they are fitted.

    None for what isn't scikit-learn's own: who else grows may well change them.
    """
    if not type(estimator).__module__.startswith("sklearn."):
        return None
    shared = {id(each): each for each in _members(estimator)}
    return copy.deepcopy(estimator, shared)


def _members(estimator: Any) -> Iterator[Any]:
    own = vars(estimator)
    grown = own.get("estimators_", own.get("_predictors", ()))
    for each in grown.ravel() if hasattr(grown, "ravel") else grown:
        yield from each if isinstance(each, list | tuple) else [each]
