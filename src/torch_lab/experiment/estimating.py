"""`estimator=` in what a configuration function returned: checked, and made an ordinary module."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from torch_lab.utils.text import shown

TABLES = {f"{part}_data": f"{part}_dataloaders" for part in ("train", "val", "test", "predict")}
_TRAINING = ("metrics", "loss_function")
KEYS = {
    "train_config": ("estimator", *_TRAINING, "output_transform", *list(TABLES)[:3]),
    "infer_config": ("estimator", "output_transform", "predict_data"),
}


def holds_estimator(module: Any) -> bool:
    """Whether a module holds an estimator in place of a network; that costs networks nothing."""
    if "torch_lab.estimators" not in sys.modules:  # whoever has built one has imported it
        return False
    from torch_lab.estimators import EstimatorModel

    return isinstance(getattr(module, "model", None), EstimatorModel)


def problems(result: Mapping[Any, Any]) -> Iterator[str]:
    """What is wrong with the keys that only an estimator has."""
    from torch_lab.estimators import naming

    if not naming.is_estimator(result["estimator"]):
        yield f"estimator: {_no_estimator(result['estimator'])}"
    if "module" in result:
        yield "module: it is trained in place of an estimator; remove it, or estimator"
    for key, loaders in TABLES.items():
        if result.get(key) is None:
            continue
        if result.get(loaders) is not None:
            yield f"{key}: it stands in for {loaders}; remove one of them"
        if problem := _table_problem(key, result[key], result["estimator"]):
            yield f"{key}: {problem}"
    function = result.get("loss_function")
    if function is not None and (isinstance(function, type) or not callable(function)):
        yield f"loss_function: expected a function of (y_pred, y), got {shown(function)}"


def _no_estimator(value: object) -> str:
    expected = "expected an object with fit and predict, as scikit-learn's have"
    if isinstance(value, type):
        return f"{expected}, got the class {value.__name__}: make an instance of it"
    return f"{expected}, got a {type(value).__module__}.{type(value).__qualname__}"


def _table_problem(key: str, value: Any, estimator: Any) -> str | None:
    predicting = key == "predict_data"
    pair = isinstance(value, tuple) and len(value) == 2
    if not pair:
        return None if predicting else f"expected a pair (X, y), got {_shown(value)}"
    x, y = value
    columns = y if isinstance(y, Mapping) else {} if y is None else {"y": y}
    if _length(x) is None:
        return f"expected an array of samples first, got a {type(x).__name__}"
    for name, column in columns.items():
        if (there := _length(column)) is None:
            return f"expected an array of {_length(x)} values as {name}, got {_shown(column)}"
        if there != _length(x):
            return f"{_length(x)} samples in X, and {there} in {name}"
    return None if predicting else _lack(x, columns, estimator)


def _lack(x: Any, columns: Mapping[str, Any], estimator: Any) -> str | None:
    """What a table of the right form has nothing of."""
    from torch_lab.estimators import naming

    if _length(x) == 0:
        return "there are no samples in it"
    needed = naming.is_estimator(estimator) and naming.needs_targets(estimator)
    if needed and "y" not in columns:
        return f"there is no y in it, which {naming.name_of(estimator)} needs"
    return None


def _shown(value: Any) -> str:
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, (list, tuple)) else f"a {kind}"


def _length(values: Any) -> int | None:
    shape = getattr(values, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    sized = hasattr(values, "__len__") and not isinstance(values, (str, Mapping))
    return len(values) if sized else None


def translated(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with a module in place of the estimator, and loaders in place of tables."""
    from torch_lab.estimators import EstimatorModel, EstimatorModule, table_loader
    from torch_lab.modules import LabModule

    made = {key: value for key, value in result.items() if key not in KEYS[name]}
    for key, loaders in TABLES.items():
        if result.get(key) is not None:
            made[loaders] = table_loader(*_parts(result[key]))
    estimator, transform = result["estimator"], result.get("output_transform")
    if name == "infer_config":
        made["module"] = LabModule(EstimatorModel(estimator), transform)
    else:
        given = {key: result.get(key) for key in _TRAINING}
        made["module"] = EstimatorModule(estimator, output_transform=transform, **given)
    return made


def _parts(value: Any) -> tuple[Any, dict[str, Any]]:
    if not (isinstance(value, tuple) and len(value) == 2):
        return value, {}
    x, y = value
    if isinstance(y, Mapping):
        return x, dict(y)
    return x, {} if y is None else {"y": y}
