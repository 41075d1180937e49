"""Compiled parts of estimators, replaced while skops saves and made again from safe data.

A booster of XGBoost's becomes its UBJ; a search tree of scikit-learn's neighbors becomes what it
was made from, since the samples are in the estimator anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch_lab.errors import CheckpointDamaged
from torch_lab.estimators.formats import boosters, graph

TAG = "__torch_lab__"
_SEARCH_TREES = {"KDTree": "sklearn.neighbors._kd_tree", "BallTree": "sklearn.neighbors._ball_tree"}


@contextmanager
def in_place(estimator: Any) -> Iterator[None]:
    """Put stand-ins where skops can't go; the parts themselves are back afterwards."""
    swapped: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for owner in graph.objects(estimator):
            attributes = vars(owner)
            for name, value in list(attributes.items()):
                standin = _standin(name, value)
                if standin is not None:
                    swapped.append((attributes, name, value))
                    attributes[name] = standin
        yield
    finally:
        for attributes, name, value in swapped:
            attributes[name] = value


def _standin(name: str, value: Any) -> dict[str, Any] | None:
    kind = type(value)
    if boosters.is_booster(value):
        return {TAG: "booster", "ubj": boosters.to_bytes(value)}
    if name == "_tree" and _SEARCH_TREES.get(kind.__name__) == kind.__module__:
        return {TAG: kind.__name__}
    return None


def restore(estimator: Any, *, trust: bool) -> None:
    """Make what the stand-ins stand for."""
    for owner in graph.objects(estimator):
        attributes = vars(owner)
        for name, value in list(attributes.items()):
            if type(value) is dict and TAG in value:
                attributes[name] = _made(attributes, value, trust)


def _made(attributes: dict[str, Any], standin: dict[str, Any], trust: bool) -> Any:
    kind = standin[TAG]
    if kind == "booster" and isinstance(standin.get("ubj"), bytes):
        return boosters.from_bytes(standin["ubj"], trust=trust)
    if isinstance(kind, str) and kind in _SEARCH_TREES:
        return _search_tree(kind, attributes)
    raise CheckpointDamaged("the checkpoint's estimator has a part that can't be made again")


def _search_tree(kind: str, attributes: dict[str, Any]) -> Any:
    from sklearn import neighbors

    maker = getattr(neighbors, kind)
    metric = attributes.get("effective_metric_")
    if metric not in maker.valid_metrics or metric == "pyfunc":
        raise CheckpointDamaged(f"the checkpoint's estimator has a {kind} of an unknown metric")
    keywords = attributes.get("effective_metric_params_") or {}
    return maker(attributes["_fit_X"], attributes["leaf_size"], metric=metric, **keywords)
