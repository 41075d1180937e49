"""Many batches in one update of a metric, where that is the same as many updates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

AnyMetric = Metric | MetricCollection
Batch = tuple[Tensor, Tensor]

_CLASSIFICATION = "torchmetrics.classification."
_REGRESSION = "torchmetrics.regression."


class Batches:
    """The batches that a flush hands to the metrics, which may take them as one."""

    def __init__(self, single: Sequence[Batch]) -> None:
        self.single = single
        self._merged = _merged(single) if len(single) > 1 else None
        self._alike = self._merged is not None and _read_alike([y_pred for y_pred, _ in single])

    def merged_for(self, metric: AnyMetric) -> Batch | None:
        """All batches as one, if one update of `metric` is what as many updates would be."""
        return self._merged if _merges(metric, self._alike) else None


def _merged(batches: Sequence[Batch]) -> Batch | None:
    """The batches as one, where they are of a kind."""
    kinds = {(y_pred.dtype, y_pred.shape[1:], y.dtype, y.shape[1:]) for y_pred, y in batches}
    if len(kinds) > 1 or not all(_aligned(*batch) for batch in batches):
        return None
    return torch.cat([y_pred for y_pred, _ in batches]), torch.cat([y for _, y in batches])


def _aligned(y_pred: Tensor, y: Tensor) -> bool:
    return y_pred.dim() > 0 and y.dim() > 0 and len(y_pred) == len(y)


def _merges(metric: AnyMetric, alike: bool) -> bool:
    if isinstance(metric, MetricCollection):
        return all(_merges(each, alike) for each in metric.values(copy_state=False))
    if metric.full_state_update is not False:
        return False
    family = type(metric).__module__
    return family.startswith(_REGRESSION) or (family.startswith(_CLASSIFICATION) and alike)


def _read_alike(scores: list[Tensor]) -> bool:
    """Whether torchmetrics takes all batches for probabilities, or all for logits.

    It takes the scores of an update for logits if any of them lies outside of 0..1. A batch that
    happens to have none would be read otherwise among others than alone.
    """
    if not scores[0].is_floating_point():
        return True
    if len({len(each) for each in scores}) == 1:
        together = torch.stack(scores).flatten(1)
        inside = ((together >= 0) & (together <= 1)).all(1)
    else:
        inside = torch.stack([((each >= 0) & (each <= 1)).all() for each in scores])
    return bool(inside.all() | ~inside.any())
