"""`dump` and `load`: which format an estimator has, and what it takes to read it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from torch_lab.errors import CheckpointMismatch
from torch_lab.estimators.formats import boosters, envelope, hyper, packages, pickles, scikit
from torch_lab.estimators.formats.envelope import PICKLE, UBJ, Envelope
from torch_lab.estimators.formats.names import class_name, parameters, plain


def dump(estimator: Any) -> torch.Tensor:
    """The estimator, fitted or not, as a tensor of bytes."""
    return _packed(estimator).pack()


def is_safe(estimator: Any) -> bool:
    """Whether it has a format that loads without trust."""
    return not _packed(estimator).strangers


def strangers(tensor: torch.Tensor) -> list[str]:
    """For what types loading what `dump` has just made needs trust; none where it is safe."""
    return list(envelope.unpack(tensor, payload=False).strangers)


def load(
    tensor: Any,
    *,
    into: Any,
    trust: bool = False,
    say: Callable[[str], object] = warnings.warn,
) -> Any:
    """The estimator that `dump` was given; `into` is one of its class, as the code builds it.

    What was learned is the file's; class and hyperparameters are those of `into`, which is left as
    it is. No code runs that the file chooses, unless you `trust` it. What may make predictions
    differ, another version or another hyperparameter, is told through `say`.
    """
    saved = envelope.unpack(tensor)
    if saved.class_name != class_name(into):
        raise _mismatch(saved.class_name, into)
    loaded, lines = _read(saved, into, trust)
    for line in (*packages.differences(saved.versions), *lines):
        say(line)
    return loaded


def _packed(estimator: Any) -> Envelope:
    if boosters.is_one(estimator):
        return boosters.pack(estimator)
    if not scikit.is_one(estimator):
        return pickles.pack(estimator)
    try:
        return scikit.pack(estimator)
    except scikit.NoSkops:
        return pickles.pack(estimator)


def _read(saved: Envelope, into: Any, trust: bool) -> tuple[Any, list[str]]:
    if saved.format == UBJ:
        if not boosters.is_one(into):
            raise _mismatch(saved.class_name, into)
        loaded = boosters.load(saved, into, trust=trust)
        return loaded, list(hyper.told(saved.params, _of(into, saved)))
    if saved.format == PICKLE and not trust:
        raise scikit.unsafe(saved, [])
    if saved.format == PICKLE:
        read = pickles.load(saved, into)
    else:
        read = scikit.load(saved, into, trust=trust)
    if type(read) is not type(into):
        raise _mismatch(class_name(read), into)
    return read, hyper.take(read, into)


def _of(into: Any, saved: Envelope) -> dict[str, Any]:
    return {name: value for name, value in parameters(into).items() if name in saved.params}


def _mismatch(name: str, into: Any) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"the checkpoint holds a {plain(name)}, and the code builds a {type(into).__name__}",
        hint="It is of another estimator: name another checkpoint, or none to begin anew.",
    )
