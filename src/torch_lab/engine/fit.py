"""One configuration trained: baseline validation, fit, test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelPruning
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.seed import isolate_rng

from torch_lab.callbacks import NanMonitor, RunCheckpoint
from torch_lab.callbacks.compatibility import monitored
from torch_lab.checkpoints import files, weights
from torch_lab.engine import finders, lightning, placement, profiling, translation
from torch_lab.engine import trainer as trainers
from torch_lab.engine.accounts import Accounts
from torch_lab.engine.drill import Drill
from torch_lab.engine.hardware import Hardware
from torch_lab.engine.inputs import Inputs
from torch_lab.engine.ledger import Ledger
from torch_lab.engine.logger import RunLogger
from torch_lab.engine.ranks import Ranks
from torch_lab.engine.savepoints import SavePoints
from torch_lab.engine.saves import Saver
from torch_lab.engine.stop import StopRequest
from torch_lab.engine.thrift import Thrift
from torch_lab.errors import ConfigurationError
from torch_lab.experiment import Configuration
from torch_lab.experiment.estimating import holds_estimator
from torch_lab.hparams import Hparams
from torch_lab.modules.weights import accept_own_names
from torch_lab.recording.live import RunRecorder


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
    """Where rank 0 keeps the run's record and checkpoints; other ranks have none."""

    @property
    def recorder(self) -> RunRecorder:
        """Takes what is logged and recorded."""

    def saver(self, policy: RunCheckpoint) -> Saver:
        """Takes checkpoints, as many as the policy keeps."""

    def best(self) -> Path | None:
        """The best checkpoint so far."""

    def account_for(self, ledger: Mapping[str, Any]) -> None:
        """Record what was planned and trained."""

    def last(self) -> Path | None:
        """The newest checkpoint."""

    def note_estimator(self, about: Mapping[str, Any]) -> None:
        """Record what is fitted in place of a network, and how."""


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
    scripts: tuple[Path, ...] = ()  # where a message looks for the line that it is about
    ranks: Ranks | None = None  # None: this process trains alone, or with others unwatched
    drill: Drill | None = None


def fit(configuration: Configuration, hparams: Hparams, setting: Setting) -> None:
    """Train to the planned end, or raise."""
    with _prepared(configuration, hparams, setting) as (made, settled):
        _note_estimator(made.module, setting.books)
        _fit(made, settled, _on_its_devices(made.module, setting))


def _on_its_devices(module: Any, setting: Setting) -> Setting:
    """An estimator has no use for the GPU that it was given."""
    if not holds_estimator(module):
        return setting
    from torch_lab.estimators.preparing import no_gpus

    no_gpus(setting.gpus)
    return replace(setting, gpus=None)


def _prepared(
    configuration: Configuration, hparams: Hparams, setting: Setting
) -> AbstractContextManager[tuple[Configuration, Hparams]]:
    """An estimator's data are collected, and its way of training chosen, before anything else."""
    if "torch_lab.estimators" not in sys.modules:  # whoever returns one has imported it
        return nullcontext((configuration, hparams))
    from torch_lab.estimators import EstimatorModule
    from torch_lab.estimators.preparing import Circumstances, prepared

    if not isinstance(configuration.module, EstimatorModule):
        return nullcontext((configuration, hparams))
    start = setting.start
    now = Circumstances(
        seed=setting.seed,
        fitted=start.checkpoint is not None,
        trust=setting.trust,
        say=setting.say,
        uninterrupted=setting.stop.at_once,
        limited=setting.drill is None or setting.drill.limited,
        launch=None if setting.ranks is None else setting.ranks.launch,
    )
    return prepared(configuration, hparams, now)


def _note_estimator(module: Any, books: Books | None) -> None:
    """Have the record say what is fitted in place of a network, and how."""
    if books is not None and holds_estimator(module):
        from torch_lab.estimators.naming import full_name_of

        about = {"class": full_name_of(module.model.estimator), "fitted": module.way}
        books.note_estimator(about)


def _fit(configuration: Configuration, hparams: Hparams, setting: Setting) -> None:
    module, start = configuration.module, setting.start
    if start.checkpoint is not None and start.weights_only:
        _load_weights(module, setting)
    accept_own_names(getattr(module, "_orig_mod", module))
    data = Inputs(configuration, setting.seed, setting.say)
    with trainers.quiet(), translation.misconfiguration(), translation.misfits(module, start.state):
        init = {
            "use_distributed_sampler": not data.shares_itself_out,
            # A metric that the baseline's hooks reset would belong to inference mode for good.
            "inference_mode": False,
        } | hparams.trainer.init
        accounts = Accounts(Ledger(goes_on=start.resuming, say=setting.say))
        trainer = _trainer(configuration, hparams, init, setting, accounts)
        launch = None if setting.ranks is None else setting.ranks.launch
        if launch is not None:
            uncompiled = getattr(module, "_orig_mod", module)
            placement.prepare_once(launch, configuration.datamodule, uncompiled)
        _make_use_of(Hardware(trainer, launch), data, setting)
        with profiling.told(trainer, setting.say):
            _train(trainer, configuration.module, data, hparams, setting, accounts)


def _make_use_of(hardware: Hardware, data: Inputs, setting: Setting) -> None:
    hardware.prepare()
    data.settle(hardware.settle)
    loaders = data.training.get("train_dataloaders")
    line = hardware.line(loaders)
    if line is not None and setting.books is not None:
        print(line)
    if (remark := hardware.remark(loaders)) is not None:
        setting.say(remark)


def _train(
    trainer: pl.Trainer,
    module: Any,
    data: Inputs,
    hparams: Hparams,
    setting: Setting,
    accounts: Accounts,
) -> None:
    start = setting.start
    if data.validates and hparams.trainer.validate is not None and not start.resuming:
        baseline = {"ckpt_path": start.state, "verbose": False} | hparams.trainer.validate
        # Training draws the same, baseline or none.
        with isolate_rng(), data.validated_again():
            trainer.validate(module, **data.validation, **baseline)
    if start.state and lightning.shards(trainer):  # Lightning is about to unpickle it
        files.load(Path(start.state), trust=setting.trust)
    fitting = hparams.trainer.fit | {"ckpt_path": start.state}
    alone = nullcontext() if start.state else lightning.no_checkpoint_of_its_own_choice(trainer)
    with translation.unlogged(trainer, setting.scripts), alone:
        trainer.fit(module, **data.training, **fitting)
    _refuse_emptiness(trainer)
    incomplete = accounts.verdict()
    if setting.books is not None and (ledger := accounts.recorded()) is not None:
        setting.books.account_for(ledger)
    if data.tests:
        setting.stop.act()  # on a signal that came after the last boundary
        best = trainer.strategy.broadcast(setting.books.best() if setting.books else None)
        trainer.test(module, **data.testing, ckpt_path=best and str(best), verbose=False)
    if incomplete is not None:
        raise incomplete


def _refuse_emptiness(trainer: Any) -> None:
    """Lightning completes a training without a batch, with a warning at most."""
    if trainer.num_training_batches == 0 and trainer.limit_train_batches:
        raise ConfigurationError(
            "train_dataloaders: there is no batch in them",
            hint="The dataset is empty, or smaller than a batch where drop_last=True.",
        )


def _trainer(
    configuration: Configuration,
    hparams: Hparams,
    init: dict[str, Any],
    setting: Setting,
    accounts: Accounts,
) -> pl.Trainer:
    callbacks = list(configuration.callbacks)
    if any(isinstance(each, ModelPruning) for each in callbacks):
        setting.say(
            "ModelPruning keeps its masks in no checkpoint: a run that is cut goes on,"
            " but not exactly"
        )
    policy, watch = _own(callbacks, hparams, setting)
    books = setting.books
    if books is not None:
        finders.sweep(setting.directory)
    saver = books.saver(policy) if books else None
    savepoints = SavePoints(
        policy,
        watch,
        setting.stop,
        saver,
        setting.scripts,
        setting.say,
        setting.ranks,
        accounts,
        _thrift(configuration.module),
    )
    if setting.drill is not None:
        init, savepoints.witness = _watched(init, callbacks, setting.drill, setting.directory)
    if books is not None:
        books.recorder.position = savepoints.position
        watch.sound = partial(_sound, books)
    logger = RunLogger(setting.directory, books.recorder if books else None)
    trainer = trainers.build(
        init,
        callbacks,
        directory=setting.directory,
        logger=logger,
        savepoints=savepoints,
        gpus=setting.gpus,
        trust=setting.trust,
        before_saving=saver.raise_if_failed if saver else lambda: None,
    )
    for each in trainer.loggers:
        if each is not logger:  # run.json has them
            each.log_hyperparams(dict(hparams.config))
    return trainer


def _thrift(module: Any) -> Thrift:
    """A network's saves never wait: its weights are changed where they are."""
    return Thrift(module.model.freezing if holds_estimator(module) else None)


_LOCAL = (CSVLogger, TensorBoardLogger)


def _watched(
    init: dict[str, Any], callbacks: list[pl.Callback], drill: Drill, directory: Path
) -> tuple[dict[str, Any], Any]:
    """A drill sends nothing, and sees what all callbacks have done."""
    from torch_lab.engine.fingerprints import Witness  # no ordinary run needs it

    loggers = [each for each in trainers.listed(init.get("logger")) if isinstance(each, _LOCAL)]
    callbacks.append(witness := Witness(drill, directory))
    return init | {"logger": loggers}, witness


def _own(
    callbacks: list[pl.Callback], hparams: Hparams, setting: Setting
) -> tuple[RunCheckpoint, NanMonitor]:
    """The run's checkpoint policy and NaN watch, added to `callbacks` where the user has none."""
    every = [*trainers.listed(hparams.trainer.init.get("callbacks")), *callbacks]
    policy = next((each for each in every if isinstance(each, RunCheckpoint)), None)
    watch = next((each for each in every if isinstance(each, NanMonitor)), None)
    if watch is None:
        callbacks.append(watch := NanMonitor())
    watch.say = setting.say
    if policy is None:
        callbacks.append(policy := RunCheckpoint(**monitored(every)))
    section = hparams.checkpoint
    policy.fill(
        every_n_steps=section.every_n_steps or setting.every_n_steps,
        every_minutes=section.every_minutes or setting.every_minutes,
        keep=section.keep or setting.keep,
        goes_on=setting.start.resuming,
    )
    return policy, watch


def _sound(books: Books) -> tuple[str, dict[str, Any]] | None:
    """The last checkpoint: none holds spoiled weights."""
    path = books.last()
    return None if path is None else (path.name, files.load(path))


def _load_weights(module: pl.LightningModule, setting: Setting) -> None:
    start = setting.start
    assert start.checkpoint is not None
    loading = weights.load_into(module, start.checkpoint, strict=start.strict, trust=setting.trust)
    for line in loading:
        setting.say(line)
