"""What an estimator is, as far as it can be asked."""

from __future__ import annotations

import sys
from typing import Any, Literal

from torch_lab.utils.recorded import plain_name

Task = Literal["classifier", "regressor", "other"]


def name_of(estimator: Any) -> str:
    """What messages call it: its class."""
    return type(estimator).__name__


def full_name_of(estimator: Any) -> str:
    """The class by the shortest name that it is imported by: `sklearn.svm.SVC`."""
    kind = type(estimator)
    parts = kind.__module__.split(".")
    above = (".".join(parts[:end]) for end in range(1, len(parts)))
    found = (each for each in above if _has(each, kind))
    return f"{plain_name(next(found, kind.__module__))}.{kind.__qualname__}"


def _has(module: str, kind: type) -> bool:
    return getattr(sys.modules.get(module), kind.__qualname__, None) is kind


def is_estimator(value: object) -> bool:
    """Whether it is an object with scikit-learn's fit and predict."""
    if isinstance(value, type):
        return False
    return callable(getattr(value, "fit", None)) and callable(getattr(value, "predict", None))


def task_of(estimator: Any, *, floating: bool | None = None) -> Task:
    """What it predicts; for a class that doesn't say, `floating` is whether its targets are."""
    told = _told(_tags(estimator), estimator)
    if told in ("classifier", "regressor"):
        return "classifier" if told == "classifier" else "regressor"
    if told is not None:
        return "other"
    if hasattr(estimator, "predict_proba") or hasattr(estimator, "classes_"):
        return "classifier"
    if floating is None:
        return "other"
    return "regressor" if floating else "classifier"


def needs_targets(estimator: Any) -> bool:
    """Whether it says of itself that it predicts classes or values: it can't be fitted without."""
    return _told(_tags(estimator), estimator) in ("classifier", "regressor")


def takes_rows(estimator: Any) -> bool:
    """Whether its samples have to be rows of values, as those of libraries have.

    A class of the user's own is given the batches as they are, unless it derives from
    scikit-learn's BaseEstimator and its tags say otherwise.
    """
    inputs = getattr(_tags(estimator), "input_tags", None)
    if inputs is None:
        return type(estimator).__module__.partition(".")[0] in ("lightgbm", "catboost", "xgboost")
    return bool(inputs.two_d_array and not inputs.three_d_array)


def _told(tags: Any, estimator: Any) -> Any:
    return getattr(tags, "estimator_type", None) or getattr(estimator, "_estimator_type", None)


def _tags(estimator: Any) -> Any:
    """scikit-learn's tags of an estimator that is made with it; whoever has one has imported it."""
    if "sklearn" not in sys.modules or not hasattr(estimator, "__sklearn_tags__"):
        return None
    from sklearn.utils import get_tags

    return get_tags(estimator)
