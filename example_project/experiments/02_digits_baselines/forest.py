"""A random forest."""

from __future__ import annotations

from torch_lab.hparams import extend

hparams = extend(
    "hparams.py",
    {
        "config.model": "forest",
        "config.arguments": {"n_estimators": 200, "max_features": "sqrt"},
    },
)
