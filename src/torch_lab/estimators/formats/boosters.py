"""XGBoost's estimators: the booster as UBJ, which holds trees and numbers only."""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

from torch_lab.errors import CheckpointDamaged
from torch_lab.estimators.formats import booster_check, ubj
from torch_lab.estimators.formats.envelope import UBJ, Envelope
from torch_lab.estimators.formats.names import class_name
from torch_lab.estimators.formats.packages import installed, needed
from torch_lab.estimators.formats.shapes import Unsound

_LEARNED = "n_classes_", "evals_result_"


def is_one(estimator: Any) -> bool:
    """Whether it is of XGBoost's own classes."""
    module = type(estimator).__module__
    return module == "xgboost.sklearn" and "xgboost" in sys.modules


def is_like_one(estimator: Any) -> bool:
    """Whether it is of XGBoost's classes, or of a class made from one."""
    return any(kind.__module__ == "xgboost.sklearn" for kind in type(estimator).__mro__)


def is_booster(value: Any) -> bool:
    """Whether it is the booster inside one."""
    kind = type(value)
    return kind.__module__ == "xgboost.core" and kind.__name__ == "Booster"


def pack(estimator: Any) -> Envelope:
    """The booster's trees, and beside them what the estimator has learned."""
    own = vars(estimator)
    booster = own.get("_Booster")
    return Envelope(
        UBJ,
        class_name(estimator),
        b"" if booster is None else to_bytes(booster),
        installed("xgboost"),
        {key: value for key, value in estimator.get_params().items() if _is_plain(value)},
        {key: own[key] for key in _LEARNED if _is_plain(own.get(key))},
    )


def load(saved: Envelope, into: Any, *, trust: bool) -> Any:
    """A copy of `into` with the booster."""
    estimator = copy.copy(into)
    for key in ("_Booster", *_LEARNED):
        vars(estimator).pop(key, None)
    if not saved.payload:
        return estimator
    booster = from_bytes(saved.payload, n_jobs=into.n_jobs, trust=trust)
    estimator._Booster = booster
    classes = saved.learned.get("n_classes_")
    if type(classes) is int:
        estimator.n_classes_ = classes
    if isinstance(saved.learned.get("evals_result_"), dict):
        estimator.evals_result_ = saved.learned["evals_result_"]
    if not callable(into.objective):  # fit sets it by the number of classes
        estimator.objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    return estimator


def put(estimator: Any, name: str, value: Any) -> None:
    """Set a hyperparameter and leave the booster alone."""
    if name != "objective" or callable(value):  # fit sets it by the number of classes
        setattr(estimator, name, value)


def to_bytes(booster: Any) -> bytes:
    """A booster as UBJ."""
    return bytes(booster.save_raw("ubj"))


def from_bytes(data: bytes, *, n_jobs: int | None = None, trust: bool = False) -> Any:
    """A booster from UBJ: what isn't trusted is looked through before XGBoost gets it."""
    xgboost = needed("xgboost", "this checkpoint")
    if not trust:
        try:
            booster_check.require_sound(ubj.read(data))
        except Unsound as error:
            raise CheckpointDamaged(f"the checkpoint's booster is broken: {error}") from error
    booster = xgboost.Booster({"n_jobs": n_jobs})
    try:
        booster.load_model(bytearray(data))
        booster.num_features()
    except Exception as error:  # any: what XGBoost raises of strange bytes is its own affair
        why = next((line for line in str(error).splitlines() if line.strip()), "")
        raise CheckpointDamaged(f"the checkpoint's booster can't be read: {why}") from error
    return booster


def _is_plain(value: Any) -> bool:
    if value is None:
        return False
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
