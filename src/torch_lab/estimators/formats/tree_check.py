"""Looks through what compiled code takes as it is, in an estimator that skops has loaded.

scikit-learn follows a decision tree's numbers without looking: the nodes that a node leads to,
the features that it asks for. So does libsvm. A forged file could make them read, or write,
outside their memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import isfunction
from typing import Any

import numpy as np

from torch_lab.estimators.formats import graph
from torch_lab.estimators.formats.shapes import Unsound, kind_of, require_below, require_tree

_TREE = ("sklearn.tree._tree", "Tree")
_PREDICTOR = ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")
_BOOSTING = "sklearn.ensemble._gb"
_BITSET = 8  # numbers that hold a set of up to 256 categories
_LEAF = -1


def require_sound(estimator: Any) -> None:
    """Unsound where compiled code would be led astray."""
    values = list(graph.values(estimator))
    sound: set[int] = set()
    for owner in values:
        attributes = getattr(owner, "__dict__", None)
        if isinstance(attributes, dict):
            _require_own_methods(owner, attributes)
            for name, check in _CHECKS.items():
                if name in attributes:
                    sound.update(map(id, check(owner)))
    for each in values:
        if kind_of(each) in (_TREE, _PREDICTOR) and id(each) not in sound:
            raise Unsound("a tree where none is expected")
    _require_beginnings(values, set())


def _require_own_methods(owner: Any, attributes: dict[str, Any]) -> None:
    """What a class checks before it calls compiled code can't be put out of the way."""
    for name in attributes:
        if isfunction(getattr(type(owner), name, None)):
            raise Unsound(f"{name} of {type(owner).__name__} is not its own")


def _decision_tree(owner: Any) -> Iterator[Any]:
    tree = owner.tree_
    if kind_of(tree) != _TREE:
        return
    if tree.node_count != tree.capacity or tree.node_count < 1:
        raise Unsound("a tree without its nodes")
    if tree.n_features != _features(owner):
        raise Unsound("a tree of other features")
    nodes = tree.__getstate__()["nodes"]
    if 0 in tree.value.shape:
        raise Unsound("a tree without values")
    inner = nodes["left_child"] != _LEAF
    depth = require_tree(nodes["left_child"], nodes["right_child"], inner)
    require_below(nodes["feature"][inner], tree.n_features)
    if depth > tree.max_depth:
        raise Unsound("a tree that is deeper than it says")
    yield tree


def _ensemble(owner: Any) -> Iterator[Any]:
    """Forests and boosting ask a member's tree without asking the member."""
    if not kind_of(owner)[0].startswith("sklearn.ensemble."):
        return
    for member in np.asarray(owner.estimators_, dtype=object).ravel():
        if hasattr(member, "tree_") and _features(member) > _features(owner):
            raise Unsound("a tree of more features than its ensemble has")
    if kind_of(owner)[0] == _BOOSTING:
        _require_stages(owner.estimators_)
    yield from ()


def _require_stages(found: Any) -> None:
    if not isinstance(found, np.ndarray) or found.ndim != 2:
        raise Unsound("stages that are no table")
    if not all(kind_of(getattr(each, "tree_", None)) == _TREE for each in found.ravel()):
        raise Unsound("a stage that is no tree")


def _require_beginnings(values: Iterable[Any], done: set[int]) -> None:
    """Boosting adds its stages to what another estimator has begun: inner ones are asked first."""
    for owner in values:
        if kind_of(owner)[0] != _BOOSTING or "estimators_" not in vars(owner) or id(owner) in done:
            continue
        done.add(id(owner))
        _require_beginnings(graph.values(vars(owner).get("init_")), done)
        begun = owner._raw_predict_init(np.zeros((1, _features(owner)), dtype=np.float32))
        if begun.shape != (1, owner.estimators_.shape[1]):
            raise Unsound("stages that don't fit its classes")


def _histogram_boosting(owner: Any) -> Iterator[Any]:
    features = _features(owner)
    categorical = np.asarray(owner._bin_mapper.is_categorical_)
    if categorical.shape != (features,):
        raise Unsound("bins of other features")
    _require_whole(owner, features)
    for stage in owner._predictors:
        for predictor in stage:
            _predictor(predictor, categorical)
            yield predictor


def _predictor(predictor: Any, categorical: np.ndarray) -> None:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    require_tree(nodes["left"], nodes["right"], inner)
    require_below(nodes["feature_idx"][inner], len(categorical))
    split = nodes[inner & (nodes["is_categorical"] != 0)]
    if not (categorical[split["feature_idx"]] == 1).all():
        raise Unsound("categories of a feature that has none")
    for sets in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets):
        if sets.ndim != 2 or sets.shape[1] != _BITSET:
            raise Unsound("sets of categories of another size")
        require_below(split["bitset_idx"], len(sets))


def _require_whole(owner: Any, features: int) -> None:
    """What comes before the trees hands on every feature."""
    preparing = vars(owner).get("_preprocessor")
    if preparing is None:
        return
    taken = np.zeros(features, dtype=int)
    for _, part, columns in preparing.transformers_:
        if type(part).__name__ in ("OrdinalEncoder", "FunctionTransformer"):
            taken[columns] += 1
        elif part != "drop":
            raise Unsound("features that are changed in an unknown way")
    if not (taken == 1).all():
        raise Unsound("features that are left out")


def _support_vectors(owner: Any) -> Iterator[Any]:
    """The shapes that libsvm reckons with."""
    counts = np.asarray(owner._n_support)
    vectors, coefficients, total = owner.support_vectors_, owner._dual_coef_, len(owner.support_)
    classes = len(counts) if owner._impl in ("c_svc", "nu_svc") else 2
    pairs = classes * (classes - 1) // 2
    if counts.ndim != 1 or (counts < 0).any() or classes < 2:
        raise Unsound("support vectors of no class")
    if owner._impl in ("c_svc", "nu_svc") and int(counts.sum()) != total:
        raise Unsound("support vectors that are not as many as it says")
    if vectors.shape[0] not in (total, 0) or coefficients.shape != (classes - 1, total):
        raise Unsound("support vectors that are not as many as it says")
    if len(owner._intercept_) != pairs:
        raise Unsound("intercepts that are not as many as it says")
    if any(len(each) not in (0, pairs) for each in (owner._probA, owner._probB)):
        raise Unsound("probabilities that are not as many as it says")
    yield from ()


def _centers(owner: Any) -> Iterator[Any]:
    if np.asarray(owner.cluster_centers_).shape[1:] != (_features(owner),):
        raise Unsound("centers of other features")
    yield from ()


_CHECKS = {
    "tree_": _decision_tree,
    "estimators_": _ensemble,
    "_predictors": _histogram_boosting,
    "_n_support": _support_vectors,
    "cluster_centers_": _centers,
}


def _features(owner: Any) -> int:
    count = getattr(owner, "n_features_in_", None)
    if not isinstance(count, (int, np.integer)):
        raise Unsound("it doesn't say how many features it takes")
    return int(count)
