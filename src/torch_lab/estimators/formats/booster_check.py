"""Looks through a booster before XGBoost gets it, whose compiled code follows its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_lab.estimators.formats.shapes import (
    Unsound,
    require_below,
    require_rising,
    require_tree,
)

_LEAF = -1
_CATEGORICAL = 1
_MOST = 1 << 24  # categories, and whatever else is counted


def require_sound(model: dict[str, Any]) -> None:
    """Unsound where the trees are no trees, or ask for what isn't there."""
    try:
        _check(model["learner"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Unsound("it lacks what a booster has") from error


def _check(learner: dict[str, Any]) -> None:
    about = learner["learner_model_param"]
    features, targets = _count(about["num_feature"]), max(1, _count(about["num_target"]))
    groups = max(1, _count(about["num_class"]), targets)
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        if len(booster["model"]["weights"]) != (features + 1) * groups:
            raise Unsound("weights that are not as many as it says")
    elif booster["name"] == "gbtree":
        _trees(booster["model"], features, groups)
    elif booster["name"] == "dart":
        _trees(booster["gbtree"]["model"], features, groups)
        if len(booster["weight_drop"]) != len(booster["gbtree"]["model"]["trees"]):
            raise Unsound("weights that are not as many as it says")
    else:
        raise Unsound("it is no booster that this version of torch-lab knows")


def _trees(model: dict[str, Any], features: int, groups: int) -> None:
    trees, owners = model["trees"], _integers(model["tree_info"])
    if len(trees) != len(owners) or len(trees) != _count(model["gbtree_model_param"]["num_trees"]):
        raise Unsound("trees that are not as many as it says")
    require_below(owners, groups)
    if "iteration_indptr" in model:
        require_rising(_integers(model["iteration_indptr"]), len(trees))
    _categories(model.get("cats") or {}, features)
    for tree in trees:
        _tree(tree, features, groups)


def _tree(tree: dict[str, Any], features: int, groups: int) -> None:
    about = tree["tree_param"]
    count, size = _count(about["num_nodes"]), max(1, _count(about["size_leaf_vector"]))
    left, right = _integers(tree["left_children"]), _integers(tree["right_children"])
    if count < 1 or any(len(values) != count for values in _each_node(tree, left, right, size)):
        raise Unsound("nodes that are not as many as it says")
    inner = left != _LEAF  # what was pruned leads nowhere, and nothing leads there
    require_tree(left, right, inner)
    parents = _integers(tree["parents"])
    require_below(parents[1:], count)
    if any((parents[each[inner]] != np.flatnonzero(inner)).any() for each in (left, right)):
        raise Unsound("a tree whose nodes don't know each other")
    if _count(about["num_deleted"]) >= count:
        raise Unsound("nodes that are not as many as it says")
    require_below(_integers(tree["split_indices"])[inner], features)
    if size > 1:
        _vectors(tree, size, groups, int((left == _LEAF).sum()))
    _splits(tree, inner, count)


def _each_node(
    tree: dict[str, Any], left: np.ndarray, right: np.ndarray, size: int
) -> Iterator[Any]:
    yield from (left, right, tree["parents"], tree["split_indices"], tree["split_conditions"])
    yield from (tree["default_left"], tree["split_type"])
    yield from (tree["loss_changes"], tree["sum_hessian"], tree["base_weights"][::size])


def _vectors(tree: dict[str, Any], size: int, groups: int, leaves: int) -> None:
    """Leaves with a value for each target."""
    right, left = _integers(tree["right_children"]), _integers(tree["left_children"])
    if size != groups or len(tree["leaf_weights"]) != leaves * size:
        raise Unsound("leaves that are not as many as it says")
    numbers = right[left == _LEAF]
    require_below(numbers[numbers != _LEAF], leaves)


def _splits(tree: dict[str, Any], inner: np.ndarray, count: int) -> None:
    """Splits by category name a segment of the categories."""
    nodes, categories = _integers(tree["categories_nodes"]), _integers(tree["categories"])
    starts, sizes = _integers(tree["categories_segments"]), _integers(tree["categories_sizes"])
    if not len(nodes) == len(starts) == len(sizes):
        raise Unsound("categories that are not as many as it says")
    require_below(nodes, count)
    require_below(categories, _MOST)
    if (starts < 0).any() or (sizes < 1).any() or (starts + sizes > len(categories)).any():
        raise Unsound("categories that are not as many as it says")
    splits = np.flatnonzero(inner & (_integers(tree["split_type"]) == _CATEGORICAL))
    if len(np.unique(nodes)) != len(nodes) or not set(splits.tolist()) <= set(nodes.tolist()):
        raise Unsound("a split by categories without any")


def _categories(found: dict[str, Any], features: int) -> None:
    """The names of categories, as a table's columns had them."""
    if not len(found.get("enc", ())):
        return
    segments, order = _integers(found["feature_segments"]), _integers(found["sorted_idx"])
    require_rising(segments, len(order))
    if len(segments) != features + 1 or len(found["enc"]) != features:
        raise Unsound("categories of other features")
    for names, start, end in zip(found["enc"], segments[:-1], segments[1:], strict=True):
        require_below(order[start:end], int(end - start))
        offsets = names.get("offsets")
        if offsets is not None and len(offsets):
            require_rising(_integers(offsets), len(names["values"]))
            if len(offsets) != end - start + 1:
                raise Unsound("categories that are not as many as it says")
        elif len(names["values"]) != end - start:
            raise Unsound("categories that are not as many as it says")


def _integers(values: Any) -> np.ndarray:
    found = np.asarray(values)
    if found.ndim != 1 or (len(found) and found.dtype.kind not in "iu"):
        raise Unsound("something else where it has numbers")
    return found.astype(np.int64)


def _count(text: Any) -> int:
    """A number that XGBoost writes as text."""
    if not isinstance(text, str) or not text.isascii() or not text.isdecimal():
        raise Unsound("something else where it has a number")
    count = int(text)
    if count > _MOST * 256:
        raise Unsound("a number that is out of all proportion")
    return count
