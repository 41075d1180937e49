"""The loss of an estimator's predictions where nobody names another one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from torch_lab.estimators import arrays


def natural(y_pred: Any, y: Tensor) -> Tensor:
    """Cross-entropy of probabilities, the share of wrong classes, or the mean squared error."""
    if y_pred.is_floating_point() and y.is_floating_point():
        return functional.mse_loss(y_pred, y.to(y_pred.dtype))
    if not y_pred.is_floating_point():
        wrong: Tensor = (y_pred != y).float().mean()
        return wrong
    least = torch.finfo(y_pred.dtype).tiny
    if y_pred.shape == y.shape:  # several classes at once, each there or not
        chosen = torch.where(y.bool(), y_pred, 1 - y_pred)
        mean: Tensor = -chosen.clamp(min=least).log().mean()
        return mean
    more = int(y.max()) + 1 - y_pred.shape[1]
    if more > 0:  # a class that training had none of
        y_pred = torch.cat([y_pred, y_pred.new_zeros(len(y_pred), more, *y_pred.shape[2:])], 1)
    return functional.nll_loss(y_pred.clamp(min=least).log(), y)


def of_none(estimator: Any, x: Any) -> Tensor | None:
    """The loss where there are no targets: by how much the samples don't fit; None: not said.

    The less likely they are, in the estimator's own measure, or the farther from their clusters.
    """
    given = arrays.given_to(estimator, x)
    if hasattr(estimator, "score_samples"):
        return -torch.as_tensor(np.mean(estimator.score_samples(given)), dtype=torch.float32)
    if hasattr(estimator, "cluster_centers_") and hasattr(estimator, "score"):
        return -torch.as_tensor(estimator.score(given) / arrays.rows(given), dtype=torch.float32)
    return None
