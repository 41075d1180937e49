"""`infer`: what was asked is checked first; what predicts is imported only then."""

from __future__ import annotations

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab import settings as settings_
from torch_lab.errors import UsageError
from torch_lab.tasks.options import InferOptions
from torch_lab.utils import launched
from torch_lab.utils.interrupts import end_at_once


def infer(options: InferOptions) -> None:
    """Predict as `options` say; nothing is recorded and nothing is left behind."""
    if (launch := launched.launch()) is not None:
        raise UsageError(
            f"{launch.by} has started {launch.world} processes, each to infer by itself",
            hint="Start it once: `--gpu-devices 0,1` has it use several GPUs of this machine.",
        )
    launched.forget()
    with end_at_once():  # hyperparameter scripts import torch, too
        experiment = experiments.find(options.script)
        hparams = hyperparameters.load(
            experiment.script,
            overrides=options.overrides,
            config_type=experiments.config_type(experiment, "infer_config"),
        )
        settings = settings_.load(experiment.script)
        from torch_lab.tasks import predicting

    predicting.predict(options, experiment, hparams, settings)
