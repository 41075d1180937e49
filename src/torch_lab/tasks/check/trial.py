"""A batch of each stage tried: trained on, validated, tested, with nothing kept of it."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.engine import trainer as trainers
from torch_lab.engine import translation
from torch_lab.engine.logger import RunLogger
from torch_lab.modules import TrainLabModule
from torch_lab.tasks.check import cutting, layers, measuring, seeing
from torch_lab.tasks.check.failures import (
    callback_of,
    failure,
    for_want_of_a_task,
    in_an_update,
    metric_of,
    said,
)
from torch_lab.tasks.check.findings import Finding, note, warning
from torch_lab.tasks.check.guard import Guard, Withheld, to_try
from torch_lab.tasks.check.observing import Observer
from torch_lab.tasks.check.rates import fresh
from torch_lab.tasks.check.samples import survey
from torch_lab.tasks.check.subject import Source, Stage, Subject
from torch_lab.tasks.check.trainer import TrialTrainer, planned_batches, trial_init
from torch_lab.utils.batches import batch_size

HOOKS: dict[Stage, str] = {
    "train": "train_dataloader",
    "validate": "val_dataloader",
    "test": "test_dataloader",
}
_STEPS: dict[Stage, str] = {
    "train": "training_step",
    "validate": "validation_step",
    "test": "test_step",
}
# What is said of few samples; all batches of an epoch together may be enough.
_FOR_MORE = re.compile(r"(one|single) (class|label)|k out of range", re.IGNORECASE)
_FITTED: tuple[Stage, ...] = ("train", "validate")  # what a fit goes through
_ATTEMPTS = 12
_MORE = 5  # samples, where with two of them other things are as many
_LARGE = 1 << 28  # bytes of a checkpoint that is not worth being written for a trial
# What says the same of two samples as of a whole batch.
_PLAIN = (AttributeError, ImportError, KeyError, NameError, NotImplementedError, TypeError)


class Rehearsal:
    """The trial of one experiment; `trial` gets what is seen, `findings` what fails."""

    def __init__(
        self, subject: Subject, folder: Path, accelerator: str, init: dict[str, Any]
    ) -> None:
        self.subject = subject
        self.trial = subject.trial
        self.findings: list[Finding] = []
        self.stage: Stage = "train"
        self.phase = "setup"
        self._module = subject.module
        self._folder = folder
        self._accelerator = accelerator
        self._init = init
        given = subject.plan.hparams.trainer.init.get("callbacks")
        self._callbacks = to_try([*trainers.listed(given), *subject.configuration.callbacks])
        self._guard = Guard(folder)
        self._guard.may_connect = self._guard.keeps = lambda: self.phase in ("setup", "data")
        self._validates = True
        self._trying: Stage = "train"
        self._watching: Callable[[], None] = lambda: None
        self._snapshot = measuring.Snapshot(self._module)
        self._schedules: list[tuple[Any, bool, int]] = []
        self.trial.device = {"gpu": "cuda"}.get(accelerator, accelerator)

    def run(self) -> list[Finding]:
        """Try all stages; what fails is left out, and the rest tried again."""
        with torch.compiler.set_stance("force_eager"), self._guard.armed():
            self._run()
        return self.findings

    def _run(self) -> None:
        if self._has("validate") and self.subject.plan.hparams.trainer.validate is not None:
            self._try("validate", self._validate)
            self._validates = "validate" in self.trial.done
        self._try("train", self._fit)
        if "train" in self.trial.done and seeing.coincide(self.trial.calls):
            for each in _FITTED:
                self._take_samples(each, _MORE)
            self._try("train", self._fit)
        if "train" in self.trial.done and self._says_nothing():
            self.trial.gradients.clear()
            self.trial.losses.clear()
            for each in _FITTED:
                self._take_samples(each, None)
            self._try("train", self._fit)
        if self._has("test"):
            self._try("test", self._test)

    def _says_nothing(self) -> bool:
        """Whether two samples may be too few: no pair among them, no token to guess."""
        loss, gradients = self.trial.losses.get("train"), self.trial.gradients
        if not all(each.samples is not None for each in self.trial.of("train")):
            return False
        none = loss is None and self._module.automatic_optimization
        odd = loss is not None and not (bool(torch.isfinite(loss).all()) and loss.any())
        return none or odd or (bool(self.trial.optimizers) and not gradients)

    # -- the stages --------------------------------------------------------------------------

    def _validate(self) -> None:
        trainer = self._trainer()
        kwargs = {**(self.subject.plan.hparams.trainer.validate or {}), "ckpt_path": None}
        trainer.validate(self._module, **self._data("validate"), **kwargs | {"verbose": False})

    def _fit(self) -> None:
        trainer = self._trainer()
        kwargs = {**self.subject.plan.hparams.trainer.fit, "ckpt_path": None}
        trainer.fit(self._module, **self._data("train"), **kwargs)
        self.trial.logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self._validates and self._has("validate"):
            self.trial.done.add("validate")

    def _test(self) -> None:
        self._trainer().test(self._module, **self._data("test"), verbose=False)

    def _trainer(self) -> TrialTrainer:
        init = trial_init(self._init, self._accelerator)
        if not self._validates:
            init["limit_val_batches"] = 0
        logger = RunLogger(self._folder, None)
        built = trainers.build(
            init,
            [*self._callbacks, Observer(self)],
            directory=self._folder,
            logger=logger,
            kind=TrialTrainer,
        )
        assert isinstance(built, TrialTrainer)
        accumulated = self._init.get("accumulate_grad_batches", 1)
        built.accumulated = accumulated if type(accumulated) is int else 1
        built.planned = self._planned
        return built

    # -- data --------------------------------------------------------------------------------

    def _has(self, stage: Stage) -> bool:
        """Whether there is data and a step for it."""
        if not is_overridden(_STEPS[stage], self._module):
            return False
        configuration = self.subject.configuration
        if stage == "validate" and self._init.get("limit_val_batches") == 0:
            return False
        owner = self._owner
        if owner is not None:
            return is_overridden(HOOKS[stage], owner)
        return getattr(configuration, cutting.NAMES[stage]) is not None

    @property
    def _owner(self) -> Any:
        """Who makes the loaders in hooks: a datamodule, or the module itself."""
        configuration = self.subject.configuration
        if configuration.datamodule is not None:
            return configuration.datamodule
        return self._module if configuration.train_dataloaders is None else None

    def _data(self, stage: Stage) -> dict[str, Any]:
        configuration = self.subject.configuration
        if configuration.datamodule is not None:
            return {"datamodule": configuration.datamodule}
        if self._owner is not None:
            return {}
        cuts = {
            each: self._cut(getattr(configuration, name), each, name)
            for each, name in cutting.NAMES.items()
        }
        if stage == "train":
            return {"train_dataloaders": cuts["train"], "val_dataloaders": cuts["validate"]}
        return {"dataloaders": cuts[stage]}

    def _cut(self, loaders: Any, stage: Stage, name: str) -> Any:
        return cutting.cut(loaders, stage, name, self.trial.sources, self._loading)

    def _loading(self, source: Source) -> None:
        self.stage, self.phase = source.stage, "data"

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """Inside, the hooks for data give cut loaders, and steps tell what they call."""
        with ExitStack() as undoing:
            owner = self._owner
            for stage, hook in HOOKS.items():
                if owner is not None and is_overridden(hook, owner):
                    self._replace(undoing, owner, hook, self._cutting(getattr(owner, hook), stage))
            for stage, step in _STEPS.items():
                if is_overridden(step, self._module):
                    seen = self._watched(getattr(self._module, step), stage)
                    self._replace(undoing, self._module, step, seen)
            if is_overridden("configure_optimizers", self._module):
                noted = self._noting(self._module.configure_optimizers)
                self._replace(undoing, self._module, "configure_optimizers", noted)
            if is_overridden("configure_callbacks", self._module):
                self._replace(undoing, self._module, "configure_callbacks", _no_callbacks)
            for callback in self._callbacks:
                undoing.callback(self._guard.around(callback))
            undoing.callback(self._stop_watching)
            undoing.enter_context(seeing.seeing(self._module, self))
            yield

    @staticmethod
    def _replace(undoing: ExitStack, owner: Any, name: str, value: Any) -> None:
        setattr(owner, name, value)
        undoing.callback(vars(owner).pop, name, None)

    def _cutting(self, hook: Callable[[], Any], stage: Stage) -> Callable[[], Any]:
        @functools.wraps(hook)
        def cut() -> Any:
            self.stage, self.phase = stage, "data"
            return self._cut(hook(), stage, f"{HOOKS[stage]}()")

        return cut

    def _watched(self, step: Callable[..., Any], stage: Stage) -> Callable[..., Any]:
        @functools.wraps(step)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.stage, self.phase = stage, "step"
            with ExitStack() as watching:
                watching.enter_context(seeing.Calls(self))
                if stage == "train":
                    memory = self.trial.memory
                    watching.enter_context(measuring.activations(self._module, memory))
                    watching.enter_context(
                        layers.watching(self._module, self.trial.layers, self.trial.called)
                    )
                result = step(*args, **kwargs)
            if (loss := seeing.first_tensor(result)) is not None:
                self.trial.losses[stage] = loss
            return result

        return watched

    def _noting(self, configure: Callable[[], Any]) -> Callable[[], Any]:
        @functools.wraps(configure)
        def noted() -> Any:
            self.trial.configured = configure()
            return self.trial.configured

        return noted

    # -- attempts ----------------------------------------------------------------------------

    def _try(self, stage: Stage, act: Callable[[], None]) -> None:
        """Act until it succeeds or nothing more can be left out."""
        self._trying = stage
        for _ in range(_ATTEMPTS):
            self.stage, self.phase = stage, "setup"
            try:
                with self._hooked(), trainers.quiet(), translation.misconfiguration():
                    warnings.simplefilter("ignore")  # two samples make metrics warn
                    act()
                self.trial.done.add(stage)
                return
            except Withheld as withheld:
                if not self._goes_on_without(withheld):
                    return
            except (Exception, SystemExit) as error:  # noqa: BLE001  any, of the user's code
                if not self._goes_on_after(error):
                    return
            finally:
                self._look_at_more()
                self._snapshot.put_back()
                self._put_back_schedulers()
                self._guard.clear_up()

    def _look_at_more(self) -> None:
        """Let checks look at further samples, while files that the trial made are there."""
        for source in self.trial.sources:
            with suppress(Withheld):
                survey(source)

    def _goes_on_without(self, withheld: Withheld) -> bool:
        """Tell what was not let through; whether it was a callback, which can be left out."""
        owner = withheld.callback or self._module
        told = f"{type(owner).__name__} {withheld.what}: it was not tried further"
        self.findings.append(note("withheld", told))
        return withheld.callback is not None and self._leave_out(withheld.callback)

    def _goes_on_after(self, error: BaseException) -> bool:
        """Tell what failed; whether there is more to try without it."""
        stage = self.stage
        if not isinstance(error, _PLAIN) and self._with_whole_batches(stage):
            for source in self.trial.of(stage):
                source.refused = said(error)
            return True
        self.findings.append(self._told(error))
        if self._drop_metric(error) or self._drop_callback(error):
            return True
        if stage == "validate" and self._trying == "train" and self._validates:
            self._validates = False
            return True
        return False

    def _told(self, error: BaseException) -> Finding:
        """What failed; no more than a warning where more data, or devices, may make it good."""
        found = failure(error, self.phase, self.stage)
        found = for_want_of_a_task(found, error, self.subject.plan)
        if isinstance(error, torch.OutOfMemoryError):
            told = f"two samples do not fit into what is free on {self.trial.device}"
            return warning("memory", f"{told}: {found.message}", found.place)
        if "process group" in found.message:  # on one device there is none
            return replace(found, level="note")
        if _FOR_MORE.search(found.message):
            return replace(found, level="note", hint="One batch was tried, which may be too few.")
        of_a_batch = self.phase != "epoch-end" or in_an_update(error)
        sure = of_a_batch or isinstance(error, _PLAIN)
        return found if sure else replace(found, level="warning")

    def _with_whole_batches(self, stage: Stage) -> bool:
        """Whether two samples were too few, perhaps: then all of the batch are tried."""
        cut = [each for each in self.trial.of(stage) if each.samples is not None]
        if cut:
            self._take_samples(stage, None)
        return bool(cut)

    def _take_samples(self, stage: Stage, samples: int | None) -> None:
        self.trial.calls = [each for each in self.trial.calls if each.stage != stage]
        self.trial.done.discard(stage)
        for source in self.trial.of(stage):
            if source.samples is not None:
                source.samples, source.batch = samples, None

    def _drop_metric(self, error: BaseException) -> bool:
        name = metric_of(error)
        if name is None or not isinstance(self._module, TrainLabModule):
            return False
        return self._module.leave_out_metric(name)

    def _drop_callback(self, error: BaseException) -> bool:
        name = callback_of(error)
        found = next((each for each in self._callbacks if type(each).__name__ == name), None)
        return found is not None and self._leave_out(found)

    def _leave_out(self, callback: pl.Callback) -> bool:
        self._callbacks.remove(callback)
        return True

    # -- what is seen ------------------------------------------------------------------------

    def _planned(self) -> int | float:
        """How many batches an epoch of the training is going to have."""
        lengths = [each.length for each in self.trial.of("train")]
        return planned_batches(self._init, lengths)

    def begun(self, trainer: TrialTrainer) -> None:
        """Note the optimizers; schedulers are to step once, and to miss no metric."""
        trainer.begun = True
        self._snapshot.take()  # of what configure_model has made
        self._stop_watching()
        self._watching = measuring.watch_gradients(self._module, self.trial)
        self.trial.optimizers = list(trainer.optimizers)
        self.trial.schedulers = list(trainer.lr_scheduler_configs)
        self.trial.schedules = [each for each in map(fresh, self.trial.schedulers) if each]
        self._schedules = [(each, each.strict, each.frequency) for each in self.trial.schedulers]
        for config in self.trial.schedulers:
            config.strict, config.frequency = False, 1

    def _stop_watching(self) -> None:
        watching, self._watching = self._watching, lambda: None
        watching()

    def _put_back_schedulers(self) -> None:
        for config, strict, frequency in self._schedules:
            config.strict, config.frequency = strict, frequency
        self._schedules = []

    def ended(self, trainer: TrialTrainer) -> None:
        """Save a checkpoint, which says how large they are and whether they can be saved."""
        self.phase = "checkpoint"
        memory = self.trial.memory
        self.trial.checkpoint = memory.parameters + memory.buffers + memory.optimizer
        if self.trial.checkpoint < _LARGE:
            path = self._folder / "trial.ckpt"
            trainer.save_checkpoint(path)
            self.trial.checkpoint = path.stat().st_size
            path.unlink()

    def trained(self, batch: Any) -> None:
        """Measure what there is when a batch has been trained."""
        memory = self.trial.memory
        measuring.measure(memory, self._module, self.trial.optimizers, batch)
        whole = [cutting.batch_size(each.loader) for each in self.trial.of("train")]
        if whole and whole[0] is not None:
            memory.scale = max(whole[0] / max(batch_size(batch), 1), 1.0)
        self.trial.moved = self._snapshot.changed()


def _no_callbacks() -> list[pl.Callback]:
    return []
