"""Estimators beside modules: anything with scikit-learn's fit and predict, trained by the Trainer.

An estimator becomes a LightningModule, its data loaders; record, metrics, checkpoints and
resolution are those of every module. May import torch and Lightning; scikit-learn, XGBoost and
skops only inside functions.
"""

from __future__ import annotations

from torch_lab.estimators.model import EstimatorModel
from torch_lab.estimators.module import EstimatorModule
from torch_lab.estimators.tables import Table, table_loader

__all__ = ["EstimatorModel", "EstimatorModule", "Table", "table_loader"]
