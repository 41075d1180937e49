"""A configuration applied with a run's weights; its callbacks write the results."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torch_lab import experiment as experiments
from torch_lab.checkpoints import resolve as checkpoints
from torch_lab.checkpoints import weights
from torch_lab.checkpoints.resolve import Found
from torch_lab.engine import trainer as trainers
from torch_lab.engine.stop import StopRequest
from torch_lab.experiment import Experiment
from torch_lab.hparams import Hparams
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.tasks import report
from torch_lab.tasks.options import InferOptions
from torch_lab.tasks.plan import say

NONE = "none"


def predict(
    options: InferOptions, experiment: Experiment, hparams: Hparams, settings: Settings
) -> None:
    """Predict; a signal unwinds what is under way."""
    with StopRequest().listening():
        _predict(options, experiment, hparams, settings)


def _predict(
    options: InferOptions, experiment: Experiment, hparams: Hparams, settings: Settings
) -> None:
    experiments.require_function(experiment, "infer_config")
    trainers.check_gpus(options.gpus)
    found = _checkpoint(options, experiment, hparams, settings)
    pl.seed_everything(hparams.seed or 0, verbose=False)
    configuration = experiments.infer_configuration(experiment, hparams.config, options.args)
    if found is not None:
        strict, trust = hparams.checkpoint.strict, options.trust
        for line in weights.load_into(configuration.module, found.path, strict=strict, trust=trust):
            say(line)
    data: dict[str, Any] = {"dataloaders": configuration.predict_dataloaders}
    if configuration.datamodule is not None:
        data = {"datamodule": configuration.datamodule}
    with trainers.quiet(), tempfile.TemporaryDirectory() as nowhere:
        trainer = trainers.build(
            hparams.trainer.init,
            configuration.callbacks,
            directory=Path(nowhere),
            logger=None,
            gpus=options.gpus,
            trust=options.trust,
        )
        # Its ckpt_path, if there is one, was resolved and loaded above.
        kwargs = hparams.trainer.predict | {"ckpt_path": None, "return_predictions": False}
        trainer.predict(configuration.module, **data, **kwargs)


def _checkpoint(
    options: InferOptions, experiment: Experiment, hparams: Hparams, settings: Settings
) -> Found | None:
    """The weights asked for: by --checkpoint, else by hparams, else none."""
    section = hparams.checkpoint
    text, name = options.checkpoint, section.checkpoint_name
    if text is None:
        text = section.checkpoint_task_id or hparams.trainer.predict.get("ckpt_path")
    elif text != NONE:
        name = "last"
    if text is None or text == NONE:
        if text is None:
            say(
                "warning: no checkpoint: the module is applied as it was built"
                " (--checkpoint RUN takes a run's, --checkpoint none says that you mean it)"
            )
        return None
    found = checkpoints.resolve(text, name, settings.artifacts, cwd=Path.cwd(), say=say)
    source = "" if options.checkpoint is not None else ", as hparams' checkpoint section says"
    say(f"weights from {report.shown(found.path)}{source}")
    if options.checkpoint is None:
        _name_newer(found, experiment, settings)
    return found


def _name_newer(found: Found, experiment: Experiment, settings: Settings) -> None:
    """Say which runs of this script are newer than the checkpoint that hparams name."""
    since = found.run.record.created if found.run is not None else found.path.stat().st_mtime
    newer = [
        run.record.name
        for run in find.runs(settings.artifacts)
        if (run.record.experiment, Path(run.record.script).stem)
        == (experiment.name, experiment.script_name)
        and run.record.created > since
        and run.record.dev_run is None
        and run.record.checkpoints
    ]
    if newer:
        names = ", ".join(newer[:3]) + (f" and {len(newer) - 3} more" if len(newer) > 3 else "")
        say(f"newer runs of this script: {names} (--checkpoint RUN takes one)")
