"""Predictions of growing ensembles by what is new in them."""

from __future__ import annotations

from torch_lab.estimators.margins.sums import Margins

__all__ = ["Margins"]
