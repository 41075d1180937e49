"""XGBoost's gradient boosting; `pip install 'torch-lab[xgboost]'`."""

from __future__ import annotations

from torch_lab.hparams import extend

hparams = extend(
    "hparams.py",
    {
        "config.model": "xgboost",
        "config.arguments": {"n_estimators": 60, "max_depth": 4, "learning_rate": 0.3},
    },
)
