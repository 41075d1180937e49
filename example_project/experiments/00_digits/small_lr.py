"""hparams.py with a smaller learning rate, and the time it needs."""

from __future__ import annotations

from torch_lab.hparams import extend

# Only what differs is written down: a change in hparams.py reaches this script too.
hparams = extend(
    "hparams.py",
    {
        "config.learning_rate": 5e-4,
        "trainer.init.max_epochs": 60,
    },
)
