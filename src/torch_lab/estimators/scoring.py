"""Metrics given what each of them needs: probabilities, those of class 1, or classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection

from torch_lab.errors import ConfigurationError
from torch_lab.metrics import MetricWrapper
from torch_lab.modules.merging import AnyMetric

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
    if len(tasks) != 1 or None in tasks:
        return metric  # type: ignore[no-any-return]
    wants = _Wants(
        name,
        estimator,
        str(tasks.pop()),
        max((_classes(each) for each in members), default=0),
        any(map(_needs_scores, members)),
    )
    wrapper = MetricWrapper(wants, metric)
    if getattr(metric, "compute_on_batch", False):
        wrapper.compute_on_batch = True
    return wrapper


def _task(metric: Any) -> str | None:
    """What one of torchmetrics' own is about, by its name."""
    kind = type(metric)
    if not isinstance(metric, Metric) or not kind.__module__.startswith("torchmetrics."):
        return None
    return next((task for task in _TASKS if kind.__name__.startswith(task)), None)


def _classes(metric: Any) -> int:
    count = getattr(metric, "num_classes", None)
    return count if isinstance(count, int) else 0


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
    classes: int
    scores: bool

    def __call__(self, y_pred: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
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
        if y_pred.shape[1] > 2:
            raise ConfigurationError(
                f"metric {self.name!r} is of two classes, and {self.estimator} has"
                f" {y_pred.shape[1]}",
                hint="torchmetrics has its counterpart for several: Multiclass….",
            )
        return y_pred[:, 1] if y_pred.shape[1] == 2 else y_pred.new_zeros(len(y_pred))
