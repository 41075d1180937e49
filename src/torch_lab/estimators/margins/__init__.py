"""Predictions of growing ensembles by what is new in them."""

from __future__ import annotations

from torch_lab.estimators.margins.sums import Adding, Margins, growing_of

__all__ = ["Adding", "Margins", "growing_of"]
