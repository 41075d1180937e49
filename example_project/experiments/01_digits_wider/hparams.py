"""The hyperparameters of 01_digits_wider."""

from __future__ import annotations

from typing import Any

EPOCHS = 20

hparams: dict[str, Any] = {
    "task": {"project_name": "digits"},
    "trainer": {
        "init": {
            "max_epochs": EPOCHS,
            "log_every_n_steps": 10,
        },
    },
    "seed": 0,
    "config": {
        "data": "data/processed/digits",
        "batch_size": 64,
        "num_workers": 0,
        "degrees": 10.0,
        "shift": 0.08,
        "noise": 0.05,
        "width": 32,
        "dropout": 0.3,
        "learning_rate": 3e-3,
        "weight_decay": 1e-2,
        # The scheduler plans from it how fast the learning rate falls.
        "epochs": EPOCHS,
    },
}
