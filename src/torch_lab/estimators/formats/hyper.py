"""Hyperparameters of a loaded estimator: those of the code, not those of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from torch_lab.errors import CheckpointMismatch
from torch_lab.estimators.formats import boosters
from torch_lab.estimators.formats.names import inner, parameters
from torch_lab.utils.text import shown

# Of training alone, or changed while it trains: no word on them where the file has others.
_OF_TRAINING = {
    *("callbacks", "device", "early_stopping", "eval_metric", "max_iter", "max_epochs"),
    *("n_estimators", "n_jobs", "objective", "random_state", "verbose", "verbosity", "warm_start"),
}


def take(loaded: Any, into: Any) -> list[str]:
    """Give `loaded` the hyperparameters of `into`; the lines say which were others.

    CheckpointMismatch where the two are not made of the same estimators.
    """
    own, had = parameters(into), parameters(loaded)
    _require_same_parts(dict(inner(into)), dict(inner(loaded)))
    values = {name: value for name, value in own.items() if not _is_made_of(value)}
    lines = list(told(had, values))
    parts = {"": loaded, **dict(inner(loaded))}
    boosted = {name: part for name, part in parts.items() if boosters.is_like_one(part)}
    for name, value in values.items():
        owner, _, own_name = name.rpartition("__")
        if owner in boosted:  # whose set_params would change the booster too
            boosters.put(boosted[owner], own_name, value)
        elif not _is_random(value):  # generators go on from where they were
            loaded.set_params(**{name: value})
    return lines


def told(had: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """A line for each hyperparameter that counts in predicting and was another."""
    for name, value in own.items():
        if name.rpartition("__")[2] in _OF_TRAINING or name not in had:
            continue
        then, now = shown(had[name]), shown(value)
        if then != now and " at 0x" not in then + now:
            yield f"hyperparameter {name} is {now} here, and was {then} where it was trained"


def _require_same_parts(own: Mapping[str, Any], had: Mapping[str, Any]) -> None:
    for name in sorted({*own, *had}):
        here, there = _part(own, name), _part(had, name)
        if here != there:
            raise CheckpointMismatch(
                f"the checkpoint's estimator has {there} as {name}, and the code's {here}",
                hint="It is of another estimator: name another checkpoint, or none to begin anew.",
            )


def _part(parts: Mapping[str, Any], name: str) -> str:
    return f"a {type(parts[name]).__name__}" if name in parts else "nothing"


def _is_made_of(value: Any) -> bool:
    """Whether a parameter is an estimator, or a list of them: what is learned is in them."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_made_of, value))
    if isinstance(value, Mapping):
        return any(map(_is_made_of, value.values()))
    return callable(getattr(value, "get_params", None)) and not isinstance(value, type)


def _is_random(value: Any) -> bool:
    return isinstance(value, (np.random.RandomState, np.random.Generator))
