"""`infer`: what was asked is checked first; what predicts is imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab import settings as settings_
from torch_lab.tasks.options import InferOptions
from torch_lab.utils import launched
from torch_lab.utils.importing import importing
from torch_lab.utils.launched import Launch

if TYPE_CHECKING:  # it imports torch
    from torch_lab.engine.ranks.meeting import Meeting
    from torch_lab.tasks.predicting import Guest


def infer(options: InferOptions) -> None:
    """Predict as `options` say; nothing is recorded and nothing is left behind."""
    if (found := launched.launch()) is not None:
        return _one_of_several(options, found)
    launched.forget()
    return _infer(options)


def _one_of_several(options: InferOptions, launch: Launch) -> None:
    """A process that torchrun or srun has started: all do the same, and end as one."""
    patience = settings_.load(options.script).join_timeout
    launched.end_with_agent(launch)
    with importing():
        from torch_lab.engine.ranks import meeting
        from torch_lab.tasks.predicting import Guest
    if launch.rank == 0:
        with meeting.opened(launch, patience) as opened:
            return _infer(options, opened)
    launch, channel, told = meeting.join(launch, patience)
    if told is None:  # rank 0 has said why
        raise SystemExit(1)
    return _infer(options, Guest(launch, channel))


def _infer(options: InferOptions, place: Meeting | Guest | None = None) -> None:
    with importing():  # hyperparameter scripts import torch, too
        experiment = experiments.find(options.script)
        hparams = hyperparameters.load(
            experiment.script,
            overrides=options.overrides,
            config_type=experiments.config_type(experiment, "infer_config"),
        )
        settings = settings_.load(experiment.script)
        from torch_lab.tasks import predicting

    predicting.predict(options, experiment, hparams, settings, place)
