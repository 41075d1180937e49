"""`infer_config`, where there is one: built, and a batch predicted."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab.engine import trainer as trainers
from torch_lab.errors import CheckpointMismatch, UsageError
from torch_lab.experiment import Configuration
from torch_lab.experiment.estimating import holds_estimator
from torch_lab.modules import load_weights
from torch_lab.modules.weights import model_weights
from torch_lab.tasks.check import cutting
from torch_lab.tasks.check.failures import failure, place, said
from torch_lab.tasks.check.findings import Finding, note, warning
from torch_lab.tasks.check.guard import Guard, Withheld
from torch_lab.tasks.check.subject import Source, Subject
from torch_lab.tasks.check.trainer import trial_init
from torch_lab.tasks.plan import Plan

_HOOK = "predict_dataloader"


def infer(
    plan: Plan, folder: Path, accelerator: str, init: dict[str, Any], subject: Subject | None
) -> Generator[Finding, None, bool]:
    """What `infer` would stumble over, so far as it takes no arguments; whether it was tried.

    `subject` has the module of train_config, whose weights it would load.
    """
    try:
        if not experiments.has_function(plan.experiment, "infer_config"):
            return False
    except (Exception, SystemExit):  # noqa: BLE001  any: train_config was found to fail by it
        return False
    try:
        experiments.require_arguments(plan.experiment, [])
    except UsageError:
        yield note("infer", "infer_config was not tried: it takes arguments")
        return False
    trying = _Trying(plan, folder, accelerator, init)
    try:
        with Guard(folder).armed():  # what infer_config opens for its results, too
            configuration = trying.built()
            unfit = list(_unfit(configuration.module, subject, plan))
            if tried := not _is_unfitted(configuration.module):
                trying.predict(configuration)
        yield from unfit
        return tried
    except Withheld as withheld:
        yield note("withheld", f"infer_config {withheld.what}: it was not tried further")
    except FileNotFoundError as error:  # what is to be predicted may come later
        yield warning("infer", f"infer_config: {said(error)}", place(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  any, of the user's code
        yield failure(error, "infer", trying.doing, sure_of="infer")
    return False


def _is_unfitted(module: Any) -> bool:
    """Whether it holds an estimator that the trial could not fit: the reason is told there."""
    return holds_estimator(module) and not module.model.fitted


def _unfit(module: Any, subject: Subject | None, plan: Plan) -> Iterator[Finding]:
    """Weights that a run of this script will have, and `infer` can't load."""
    if subject is None or not plan.hparams.checkpoint.strict:
        return
    try:
        if subject.fitted is not None and holds_estimator(module):
            _load_estimator(module.model, subject.fitted)
        else:
            load_weights(module, model_weights(subject.module))
    except CheckpointMismatch as error:
        told = "infer_config's module can't take the weights that train_config's has"
        hint = "Build the network of both with the same function and config."
        yield warning("infer-model", f"{told}: {error.message}", None, hint)


def _load_estimator(model: Any, fitted: Any) -> None:
    """As from a checkpoint of the estimator that was fitted to some samples."""
    from torch_lab.estimators import formats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hyperparameters that only fitting has a use for
        model.estimator = formats.load(formats.dump(fitted), into=model.estimator, trust=True)
    model.fitted = True


@dataclass
class _Trying:
    plan: Plan
    folder: Path
    accelerator: str
    init: dict[str, Any]
    doing: str = "infer_config"

    def built(self) -> Configuration:
        """What infer_config returns."""
        experiment = self.plan.experiment
        hparams = hyperparameters.load(
            experiment.script,
            overrides=self.plan.options.overrides,
            config_type=experiments.config_type(experiment, "infer_config"),
        )
        pl.seed_everything(hparams.seed or 0, verbose=False)
        return experiments.infer_configuration(experiment, hparams.config, [])

    def predict(self, configuration: Configuration) -> None:
        """A batch of two samples, with no callback: those write the results."""
        self.doing = "predict"
        init = trial_init(self.init, self.accelerator)
        init["limit_predict_batches"] = 1
        with trainers.quiet():
            warnings.simplefilter("ignore")
            trainer = trainers.build(init, [], directory=self.folder, logger=None)
            data = _data(configuration)
            trainer.predict(configuration.module, **data, return_predictions=False)


def _data(configuration: Configuration) -> dict[str, Any]:
    sources: list[Source] = []

    def cut(loaders: Any) -> Any:
        return cutting.cut(loaders, "predict", "predict_dataloaders", sources, lambda _: None)

    owner = configuration.datamodule
    if owner is None and configuration.predict_dataloaders is not None:
        return {"dataloaders": cut(configuration.predict_dataloaders)}
    hooked = configuration.module if owner is None else owner
    hook = getattr(hooked, _HOOK)
    setattr(hooked, _HOOK, lambda: cut(hook()))
    return {} if owner is None else {"datamodule": owner}
