"""Metrics given what each of them needs: probabilities, those of class 1, or classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection

from torch_lab.errors import ConfigurationError
from torch_lab.estimators.arrays import targets_for
from torch_lab.estimators.labels import by_value, listed
from torch_lab.metrics import MetricWrapper
from torch_lab.modules.merging import AnyMetric
from torch_lab.modules.notes import described, noting

_TASKS = ("Binary", "Multiclass", "Multilabel")
# What torchmetrics computes from scores alone, by words in the names of its classes.
_OF_SCORES = (
    *("AUROC", "ROC", "AveragePrecision", "PrecisionRecallCurve", "CalibrationError"),
    *("HingeLoss", "LogAUC", "EER", "AtFixed", "AtSensitivity", "AtSpecificity", "Ranking"),
)


def seen_by(metrics: Any, estimator: str) -> Any:
    """The metrics, each seeing an estimator's predictions as it needs them."""
    if not isinstance(metrics, Mapping | MetricCollection):
        return metrics  # which the module refuses, in its own words
    return {name: _wrapped(name, metric, estimator) for name, metric in metrics.items()}


def _wrapped(name: str, metric: Any, estimator: str) -> AnyMetric:
    members = list(metric.values()) if isinstance(metric, MetricCollection) else [metric]
    tasks = {_task(each) for each in members}
    task = tasks.pop() if len(tasks) == 1 else None
    if task is None:
        return metric  # type: ignore[no-any-return]
    wants = _Wants(
        name,
        estimator,
        task,
        2 if task == "Binary" else max(map(_classes, members)),
        any(map(_needs_scores, members)),
        tuple(map(_ignored, members)),
    )
    wrapper = MetricWrapper(wants, metric)
    if getattr(metric, "compute_on_batch", False):
        wrapper.compute_on_batch = True
    return wrapper


def require_counted(metrics: Mapping[str, Any], y: Any) -> None:
    """Refuse targets, before anything is fitted to them, that a metric doesn't count."""
    values = targets_for(y)
    if not by_value(values):
        return  # others are counted in the order of classes_, which nobody knows yet
    numbers = torch.from_numpy(values.astype(np.int64))
    for name, metric in metrics.items():
        wants = getattr(metric, "preprocessor", None)
        if isinstance(wants, _Wants):
            with noting(f"metric {name!r} (train), before training: y {described(numbers)}"):
                wants.require_counted(numbers, numbers[:0])


def _task(metric: Any) -> str | None:
    """What one of torchmetrics' own is about, by its name."""
    kind = type(metric)
    if not isinstance(metric, Metric) or not kind.__module__.startswith("torchmetrics."):
        return None
    return next((task for task in _TASKS if kind.__name__.startswith(task)), None)


def _classes(metric: Any) -> int:
    count = getattr(metric, "num_classes", None)
    return count if isinstance(count, int) else 0


def _ignored(metric: Any) -> int | None:
    index = getattr(metric, "ignore_index", None)
    return index if isinstance(index, int) else None


def _needs_scores(metric: Any) -> bool:
    top = getattr(metric, "top_k", 1)
    by_name = any(word in type(metric).__name__ for word in _OF_SCORES)
    return by_name or (isinstance(top, int) and top > 1)


@dataclass(frozen=True)
class _Wants:
    """What a metric of torchmetrics wants of predictions."""

    name: str
    estimator: str
    task: str
    classes: int  # 0: it doesn't say how many
    scores: bool
    ignored: tuple[int | None, ...]

    def __call__(self, y_pred: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.require_counted(y, y_pred)
        if not y_pred.is_floating_point():
            if self.scores:
                raise ConfigurationError(
                    f"metric {self.name!r} needs probabilities, and {self.estimator} predicts"
                    " classes alone: it has no predict_proba",
                    hint="Leave the metric out, or let the estimator have probabilities:"
                    " sklearn.calibration.CalibratedClassifierCV gives them to any classifier.",
                )
            return y_pred, y
        if self.task == "Binary":
            return self._positive(y_pred), y
        if self.task == "Multilabel" and y_pred.dim() == 3:
            return y_pred[:, 1], y  # an estimator for each label, with two classes
        missing = self.classes - y_pred.shape[1] if y_pred.dim() > 1 else 0
        if self.task == "Multiclass" and missing > 0:  # classes that training had none of
            padding = [0, 0] * (y_pred.dim() - 2) + [0, missing]
            y_pred = functional.pad(y_pred, padding)
        return y_pred, y

    def _positive(self, y_pred: Tensor) -> Tensor:
        if y_pred.dim() < 2:
            return y_pred
        return y_pred[:, 1] if y_pred.shape[1] == 2 else y_pred.new_zeros(len(y_pred))

    def require_counted(self, y: Tensor, y_pred: Tensor) -> None:
        """Refuse classes that the metric doesn't count: torchmetrics says it in other words."""
        if not self.classes or y.is_floating_point() or self.task == "Multilabel":
            return
        scores = y_pred.is_floating_point()
        columns = y_pred.shape[1] if scores and y_pred.dim() > 1 else 0
        if self._strange(y):
            raise self._uncounted("y has", y, columns)
        if not scores and self._strange(y_pred):
            raise self._uncounted(f"{self.estimator} predicts", y_pred)
        if columns > self.classes:
            what = f"{self.estimator} has probabilities of {columns}"
            raise self._problem(what, 0, columns)

    def _strange(self, values: Tensor) -> bool:
        beyond = (values < 0) | (values >= self.classes)
        for each in self.ignored:
            if each is not None:
                beyond &= values != each
        return bool(beyond.any())

    def _uncounted(self, who: str, values: Tensor, columns: int = 0) -> ConfigurationError:
        seen = sorted(set(values.flatten().tolist()))
        return self._problem(f"{who} {listed(seen)}", seen[0], max(columns, seen[-1] + 1))

    def _problem(self, what: str, least: int, needed: int) -> ConfigurationError:
        between = "and" if self.classes == 2 else "to"
        if self.task == "Binary":
            counterpart = "torchmetrics has its counterpart for several: Multiclass…."
            hint = "Let y be 0 and 1." if least < 0 or needed - least <= 2 else counterpart
        elif least < 0:
            hint = f"Let y begin with 0, or give the metric ignore_index={least}."
        else:
            hint = f"Give the metric num_classes={needed}" + (
                ", or let y begin with 0: whole numbers stand for themselves." if least else "."
            )
        return ConfigurationError(
            f"metric {self.name!r} is of {self.classes} classes, 0 {between} {self.classes - 1},"
            f" and {what}",
            hint=hint,
        )
