"""hparams.py once more, from the best weights of its newest run, with gentler steps.

Train hparams.py first.
"""

from __future__ import annotations

from torch_lab.hparams import extend

hparams = extend(
    "hparams.py",
    {
        "checkpoint": {
            # EXPERIMENT/SCRIPT is that script's newest run, whichever that is when this starts.
            # A run's own name ("00_digits-hparams_v0") or a .ckpt file would do as well.
            "checkpoint_task_id": "00_digits/hparams",
            "checkpoint_name": "best",
            # True: the weights alone, training begins at epoch 0. False: optimizer, scheduler,
            # epoch and step too, as if that run had gone on.
            "weights_only": True,
        },
        "config.learning_rate": 1e-4,
        "config.degrees": 5.0,
        "trainer.init.max_epochs": 10,
    },
)
