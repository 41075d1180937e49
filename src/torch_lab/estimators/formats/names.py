"""Names of classes, as a saved estimator's header has them, and as people read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch_lab.utils import recorded


def class_name(estimator: Any) -> str:
    """`module:qualname`; code that was recorded with a run goes by the names it had."""
    kind = type(estimator)
    return f"{recorded.plain_name(kind.__module__)}:{kind.__qualname__}"


def plain(name: str) -> str:
    """The class's own name in a `module:qualname`; what makes no sense is cut to fit a line."""
    own = name.rpartition(":")[2]
    return own if own.replace(".", "").isidentifier() else repr(name[:60])


def own_classes(estimator: Any) -> dict[tuple[str, str], type]:
    """The classes that an estimator and its parameters are of, by module and qualified name."""
    kinds = (type(each) for each in (estimator, *parameters(estimator).values()))
    return {(recorded.plain_name(kind.__module__), kind.__qualname__): kind for kind in kinds}


def parameters(estimator: Any) -> dict[str, Any]:
    """Its parameters and those of estimators in it, by dotted name; none where it tells none."""
    if not callable(getattr(estimator, "get_params", None)):
        return {}
    found: dict[str, Any] = estimator.get_params(deep=True)
    return found


def inner(estimator: Any) -> Iterator[tuple[str, Any]]:
    """Those of its parameters that are estimators themselves."""
    for name, value in parameters(estimator).items():
        if callable(getattr(value, "get_params", None)) and not isinstance(value, type):
            yield name, value
