"""One configuration trained: baseline validation, fit, test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import StochasticWeightAveraging

from torch_lab.callbacks import NanMonitor, RunCheckpoint
from torch_lab.checkpoints import files, weights
from torch_lab.engine import plugins
from torch_lab.engine import trainer as trainers
from torch_lab.engine.inputs import Inputs
from torch_lab.engine.logger import Rows, RunLogger
from torch_lab.engine.savepoints import SavePoints, Saver
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import CheckpointMismatch, ConfigurationError
from torch_lab.experiment import Configuration
from torch_lab.hparams import Hparams
from torch_lab.modules.weights import compare


@dataclass(frozen=True)
class Start:
    """What training starts from: nothing, weights, or a whole training state."""

    checkpoint: Path | None = None
    weights_only: bool = False
    strict: bool = True
    resuming: bool = False  # the same run goes on: no baseline

    @property
    def state(self) -> str | None:
        """The file whose training state Lightning is to restore."""
        if self.checkpoint is None or self.weights_only:
            return None
        return str(self.checkpoint)


class Books(Protocol):
    """Where rank 0 keeps the run's rows and checkpoints; other ranks have none."""

    @property
    def journal(self) -> Rows:
        """Takes a row for each call of a logger."""

    def saver(self, policy: RunCheckpoint) -> Saver:
        """Takes checkpoints, as many as the policy keeps."""

    def best(self) -> Path | None:
        """The best checkpoint so far."""


@dataclass(frozen=True)
class Setting:
    """Where and how a configuration is trained."""

    directory: Path
    seed: int
    start: Start
    stop: StopRequest
    books: Books | None
    gpus: tuple[int, ...] | None = None
    trust: bool = False
    every_n_steps: int | None = None
    every_minutes: float | None = None
    keep: int = 2
    say: Callable[[str], None] = print


def fit(configuration: Configuration, hparams: Hparams, setting: Setting) -> None:
    """Train to the planned end, or raise."""
    module, start = configuration.module, setting.start
    if start.checkpoint is not None and start.weights_only:
        _load_weights(module, setting)
    data = Inputs(configuration, setting.seed, setting.say)
    with trainers.quiet(), _translated(module, start):
        init = {"use_distributed_sampler": not data.shares_itself_out} | hparams.trainer.init
        trainer = _trainer(configuration, hparams, init, setting)
        if data.validates and hparams.trainer.validate is not None and not start.resuming:
            baseline = {"ckpt_path": start.state, "verbose": False} | hparams.trainer.validate
            trainer.validate(module, **data.validation, **baseline)
        trainer.fit(module, **data.training, **hparams.trainer.fit | {"ckpt_path": start.state})
        if data.tests:
            best = trainer.strategy.broadcast(setting.books.best() if setting.books else None)
            trainer.test(module, **data.testing, ckpt_path=best and str(best), verbose=False)


def _trainer(
    configuration: Configuration, hparams: Hparams, init: dict[str, Any], setting: Setting
) -> pl.Trainer:
    callbacks = list(configuration.callbacks)
    if any(isinstance(each, StochasticWeightAveraging) for each in callbacks):
        setting.say(
            "StochasticWeightAveraging sets itself up at an epoch's start: a run that is cut in"
            " mid-epoch goes on, but not exactly"
        )
    policy, watch = _own(callbacks, hparams, setting)
    books = setting.books
    savepoints = SavePoints(policy, watch, setting.stop, books.saver(policy) if books else None)
    logger = RunLogger(
        setting.directory, books.journal if books else None, lambda: savepoints.in_batch
    )
    return trainers.build(
        init,
        callbacks,
        directory=setting.directory,
        logger=logger,
        savepoints=savepoints,
        gpus=setting.gpus,
        trust=setting.trust,
    )


def _own(
    callbacks: list[pl.Callback], hparams: Hparams, setting: Setting
) -> tuple[RunCheckpoint, NanMonitor]:
    """The run's checkpoint policy and NaN watch, added to `callbacks` where the user has none."""
    every = [*trainers.listed(hparams.trainer.init.get("callbacks")), *callbacks]
    policy = next((each for each in every if isinstance(each, RunCheckpoint)), None)
    watch = next((each for each in every if isinstance(each, NanMonitor)), None)
    if watch is None:
        callbacks.append(watch := NanMonitor())
    if policy is None:
        callbacks.append(policy := RunCheckpoint())
    section = hparams.checkpoint
    policy.fill(
        every_n_steps=section.every_n_steps or setting.every_n_steps,
        every_minutes=section.every_minutes or setting.every_minutes,
        keep=section.keep or setting.keep,
        goes_on=setting.start.resuming,
    )
    return policy, watch


def _load_weights(module: pl.LightningModule, setting: Setting) -> None:
    start = setting.start
    assert start.checkpoint is not None
    loading = weights.load_into(module, start.checkpoint, strict=start.strict, trust=setting.trust)
    for line in loading:
        setting.say(line)


_MISFITS = (
    "contains only the model",  # Lightning, of a file with weights alone
    "loaded state dict contains a parameter group",
    "loaded state dict has a different number of parameter groups",
)


@contextmanager
def _translated(module: pl.LightningModule, start: Start) -> Iterator[None]:
    """What Lightning and torch say of the user's mistakes, in torch-lab's words."""
    try:
        yield
    except MisconfigurationException as error:
        raise ConfigurationError(f"Lightning can't work with this: {error}") from error
    except (CheckpointMismatch, KeyError, RuntimeError, ValueError) as error:
        mismatch = _mismatch(error, module, start.state)
        if mismatch is None:
            raise
        with weights.naming(Path(start.state or "")):
            raise mismatch from error


def _mismatch(
    error: Exception, module: pl.LightningModule, checkpoint: str | None
) -> CheckpointMismatch | None:
    if checkpoint is None:
        return None
    if isinstance(error, CheckpointMismatch):
        return error
    if "Error(s) in loading state_dict" in str(error):
        given = files.load_verified(Path(checkpoint))["state_dict"]
        comparison = compare(module.state_dict(), given)
        return comparison.error(module) if comparison.lines() else None
    if any(text in str(error) for text in _MISFITS):
        return CheckpointMismatch(str(error.args[0]), hint=plugins.WEIGHTS_ALONE)
    return None
