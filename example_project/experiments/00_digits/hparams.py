"""The hyperparameters of 00_digits: the values that one run has and another may change."""

from __future__ import annotations

from typing import Any

hparams: dict[str, Any] = {
    # As for clearml.Task.init.
    "task": {"project_name": "digits"},
    # Keyword arguments of pytorch_lightning.Trainer ("init"), of its fit, validate and predict.
    "trainer": {
        "init": {
            "max_epochs": 30,
            "log_every_n_steps": 10,
        },
    },
    "seed": 0,
    # The only free-form section: train_config and infer_config in __main__.py receive it.
    "config": {
        "data": "data/processed/digits",
        # The name or id of a ClearML Dataset to take in its place, if one can be had: "digits" is
        # what `python -m example_project.preprocess.digits --upload` publishes.
        "dataset": None,
        "batch_size": 64,
        # Images this small are augmented faster than they could be handed between processes.
        "num_workers": 0,
        "degrees": 10.0,
        "shift": 0.08,
        "noise": 0.05,
        "width": 16,
        "dropout": 0.2,
        "learning_rate": 3e-3,
        "weight_decay": 1e-2,
        # Epochs without a better loss/validate: so many until the learning rate is reduced, so
        # many until training ends.
        "patience_reduce": 3,
        "patience_stop": 8,
    },
}
