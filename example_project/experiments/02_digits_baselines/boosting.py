"""scikit-learn's gradient boosting: trained in rounds, each of them logged."""

from __future__ import annotations

from torch_lab.hparams import extend

hparams = extend(
    "hparams.py",
    {
        "config.model": "boosting",
        "config.arguments": {"max_iter": 60, "max_leaf_nodes": 8},
    },
)
