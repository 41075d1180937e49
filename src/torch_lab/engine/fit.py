"""One configuration trained: baseline validation, fit, test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl

from torch_lab.callbacks import NanMonitor, RunCheckpoint
from torch_lab.checkpoints import files
from torch_lab.engine import trainer as trainers
from torch_lab.engine.inputs import Inputs
from torch_lab.engine.logger import Rows, RunLogger
from torch_lab.engine.savepoints import SavePoints, Saver
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import CheckpointMismatch
from torch_lab.experiment import Configuration
from torch_lab.hparams import Hparams
from torch_lab.modules import load_weights


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
    with trainers.quiet(), _translated(start):
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
    policy = next((each for each in callbacks if isinstance(each, RunCheckpoint)), None)
    watch = next((each for each in callbacks if isinstance(each, NanMonitor)), None)
    if watch is None:
        callbacks.append(watch := NanMonitor())
    if policy is None:
        callbacks.append(policy := RunCheckpoint())
    section = hparams.checkpoint
    policy.fill(
        every_n_steps=section.every_n_steps or setting.every_n_steps,
        every_minutes=section.every_minutes or setting.every_minutes,
        keep=section.keep or setting.keep,
    )
    return policy, watch


def _load_weights(module: pl.LightningModule, setting: Setting) -> None:
    assert setting.start.checkpoint is not None
    contents = files.load_verified(setting.start.checkpoint, trust=setting.trust)
    for line in load_weights(module, contents["state_dict"], strict=setting.start.strict):
        setting.say(line)


_MISFITS = (
    "Error(s) in loading state_dict",
    "loaded state dict contains a parameter group",
    "loaded state dict has a different number of parameter groups",
)


@contextmanager
def _translated(start: Start) -> Iterator[None]:
    """What torch says of a checkpoint that doesn't fit, in torch-lab's words."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if start.state is None or not any(text in str(error) for text in _MISFITS):
            raise
        raise CheckpointMismatch(
            f"checkpoint {start.checkpoint} doesn't fit this model:\n{error}",
            hint='To take over only the weights: "checkpoint": {"weights_only": True}.',
        ) from error
