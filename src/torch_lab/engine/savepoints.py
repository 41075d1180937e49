"""The boundaries of a run: where it saves, where it stops, and where a resumed one goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.plugins.precision import DoublePrecision

from torch_lab.callbacks import EpochProgress, NanMonitor, RunCheckpoint
from torch_lab.checkpoints import plain
from torch_lab.engine import crash, finders, lightning, monitors, state
from torch_lab.engine.accounts import Accounts
from torch_lab.engine.ledger import Ledger
from torch_lab.engine.ranks import NOTHING, Lead, Ranks
from torch_lab.engine.saves import Saver, Saves
from torch_lab.engine.stop import StopRequest
from torch_lab.engine.thrift import Thrift
from torch_lab.errors import CheckpointMismatch, ConfigurationError, SaveFailed
from torch_lab.recording.live import Position
from torch_lab.utils import twins
from torch_lab.utils.text import plural

FORMAT = 1


class Witness(Protocol):
    """Who watches a drill."""

    def at_boundary(self, trainer: pl.Trainer, batch: int) -> bool:
        """See the state after a batch; whether the run is to save and be cut now."""

    def saved(self) -> None:
        """That save is on disk."""

    def going_on(self, trainer: pl.Trainer, batch: int) -> None:
        """See the state that a resumed run goes on with."""


class SavePoints(pl.Callback):
    """Saves, stops and goes on at boundaries; `in_batch` numbers the batch that rows belong to."""

    def __init__(
        self,
        policy: RunCheckpoint,
        nan: NanMonitor | None,
        stop: StopRequest,
        saver: Saver | None,
        scripts: Sequence[Path] = (),
        say: Callable[[str], None] = print,
        ranks: Ranks | None = None,
        accounts: Accounts | None = None,
        thrift: Thrift | None = None,
    ) -> None:
        self.accounts = accounts or Accounts(Ledger(say=say))
        self.ranks: Ranks = ranks or Lead(stop)
        self._policy = policy
        self._nan = nan
        self._stop = stop
        self._saver = saver
        self._say = say
        self._scripts = scripts
        self._validated = False
        self._monitors_known = False
        self._trainer: pl.Trainer | None = None
        self._pristine = state.Pristine()
        self._saves = Saves(policy, saver, self.accounts, thrift or Thrift())
        self._loaded: Mapping[str, Any] | None = None
        self._found: dict[str, Any] = {}
        self._searching = False
        self._ending = self._ended = self._recorded_at_end = False
        self.witness: Witness | None = None
        self.batches = 0
        self.in_batch = 0

    def position(self) -> Position:
        """Where in training the run is, for what is recorded now."""
        trainer = self._trainer
        self._recorded_at_end |= self._ending
        if trainer is None:
            return Position(self.in_batch, 0, 0)
        step, epoch = lightning.logged_step(trainer), trainer.current_epoch
        return Position(self.in_batch, step, epoch, counts=not self._searching)

    def attach(self, trainer: pl.Trainer) -> None:
        """Let the trainer fit with loops that tell this callback their boundaries."""
        self._trainer = trainer
        self.accounts.attach(trainer)
        lightning.install_loops(trainer, self)

    # -- Lightning's hooks ------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """See the metrics before anything updates them: the baseline validation has them first."""
        self._refuse_twins(trainer.callbacks)  # type: ignore[attr-defined]
        for each in trainer.callbacks:  # type: ignore[attr-defined]
            finders.tame(each, self)
        self._pristine.see_metrics(pl_module)
        if isinstance(trainer.precision_plugin, DoublePrecision):
            pl_module.double()  # before a checkpoint's weights are loaded, not after as Lightning

    def _refuse_twins(self, callbacks: Sequence[pl.Callback]) -> None:
        """A configuration's own were refused before; the module's configure_callbacks adds more."""
        found = [each for each in callbacks if twins.is_twin(each)]
        if found:
            raise ConfigurationError(twins.problem("configure_callbacks", found, self._scripts))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See the module's and the callbacks' attributes before the baseline changes them."""
        self._stop.take_back()
        self._stop.validation_begins()
        self._pristine.see_attributes(trainer)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See them where there is no baseline; Lightning is about to restore the optimizers."""
        self._pristine.see_attributes(trainer)
        if (own := self._own_part()) is not None:
            state.restore_groups(trainer, own)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here signals wait for a boundary."""
        _refuse_unsavable(trainer)
        self._stop.take_back()
        self._stop.deferring = True
        if not self.resuming():  # hooks that follow say again what they said at the run's start
            self.in_batch = self.batches + 1
        self.ranks.begins(self.batches + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here the metrics of a validation are known, too."""
        self._stop.validation_ends()
        self._validated |= trainer.state.fn == "fit" and not trainer.sanity_checking

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run that has nothing left to train comes here without a training's start."""
        self.in_batch = self.batches + 1

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """From here they end the run at once again."""
        self._stop.deferring = False

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep what a debugger needs, beside the checkpoints."""
        if self._saver is not None and not self._searching:
            if isinstance(exception, Exception):  # who is told to end at once doesn't
                self._saves.rescue()
            crash.keep(trainer, pl_module, exception, self._saver)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning leaves out; on every rank, since each has its own."""
        point = self._saves.point
        own = state.capture(trainer, self._pristine) | {"ledger": self.accounts.state()}
        self.accounts.gathered(ranks := state.gathered(own))
        checkpoint["torch_lab"] = {
            "format": FORMAT,
            "boundary": point is not None,
            "batch": lightning.batches_done(trainer),
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "best": point is not None and point.best,
            "should_stop": trainer.should_stop,
            "ended": self._ended,
            "found": self._found,
            "metrics": dict(point.metrics) if point else {},
            "world_size": trainer.world_size,
            "ranks": ranks,
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep this rank's part until training is about to go on."""
        own = checkpoint.get("torch_lab")
        if own is None:
            self.accounts.load(None)
            return
        if own["format"] > FORMAT:
            raise CheckpointMismatch(
                f"the checkpoint's training state has format {own['format']};"
                f" this version of torch-lab reads up to {FORMAT}"
            )
        if trainer.state.fn != "fit":  # what is evaluated is not gone on from
            return
        self.batches = own["batch"]
        self._loaded = own if own["boundary"] else None
        self._tell_of_others(len(own["ranks"]), trainer)
        self._ended = own.get("ended", True)  # what older versions saved is not ended again
        if self._loaded is not None and self._policy.goes_on:
            trainer.should_stop = own.get("should_stop", False)
        self.accounts.load(own)
        self._found = dict(own.get("found", {}))
        finders.put_back(pl_module, self._found)

    def _tell_of_others(self, before: int, trainer: pl.Trainer) -> None:
        """Another number of processes shares out the samples otherwise."""
        now = trainer.world_size
        if self._loaded is None or not self._policy.goes_on or before == now:
            return
        self._say(
            f"warning: the run was cut with {plural(before, 'process', 'processes')} and goes on"
            f" with {now}: not as if it had never been cut; of an epoch that was under way some"
            f" samples are left out and others repeated (as many as before: {before})"
        )

    # -- the finders' -----------------------------------------------------------------------

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Leave everything as it was, but for what Lightning itself puts back."""
        trainer = self._trainer
        assert trainer is not None
        before = state.capture(trainer, state.Pristine())  # all of it, not only what has changed
        numbers, found = (self.batches, self.in_batch), self._found
        self._searching = self.accounts.paused = True
        try:
            yield
        finally:
            self._searching = self.accounts.paused = False
            self._loaded = None
            (self.batches, self.in_batch), self._found = numbers, found
        trainer.lightning_module.zero_grad(set_to_none=True)
        state.restore(trainer, before)
        lightning.tell_epoch(trainer)

    def found(self, name: str, value: Any, before: Any) -> None:
        """Keep it in the checkpoints, and say it if it is another than before."""
        self._found[name] = value
        if value != before:
            self._say(f"found {name} = {value:.6g} (before: {before:.6g})")

    # -- the loops' --------------------------------------------------------------------------

    def resuming(self) -> bool:
        """Whether a checkpoint made at a boundary was loaded."""
        return self._loaded is not None and not self._searching

    def going_on(self) -> None:
        """Restore this rank's state just before what followed the save."""
        assert self._trainer is not None
        if (own := self._own_part()) is not None:
            state.restore(self._trainer, own)
        self._loaded = None
        self.in_batch = self.batches + 1
        self._policy.resumed_at(self.batches)
        if self.witness is not None:
            self.witness.going_on(self._trainer, self.batches)

    def _own_part(self) -> Mapping[str, Any] | None:
        """What this rank saved; None where there is nothing, or for another number of ranks."""
        assert self._trainer is not None
        ranks = self._loaded["ranks"] if self._loaded is not None else []
        fits = len(ranks) == self._trainer.world_size
        return ranks[self._trainer.global_rank] if fits else None

    def reached(self, *, epoch_end: bool) -> None:
        """Save if it is time; end if a signal asked for it."""
        if self._searching:
            return
        trainer = self._trainer
        assert trainer is not None
        self.batches = batch = lightning.batches_done(trainer)
        self.in_batch = batch + 1
        if epoch_end and isinstance(bar := trainer.progress_bar_callback, EpochProgress):
            bar.say_epoch()
        if self._saver is not None:
            self._saver.raise_if_failed()
        if epoch_end:
            self._check_monitors(trainer)
        cut = self.witness is not None and self.witness.at_boundary(trainer, batch)
        wish = self.ranks.wishes(batch, time_is_up=self._policy.time_is_up())
        due = self._policy.due(trainer, batch, epoch_end=epoch_end)  # also where a signal came
        if wish.signum or wish.save or cut or (due and not self._saves.may_wait()):
            self.save(trainer)
        elif due:
            self._look()
            self._saves.hold(trainer, batch)
        if wish is not NOTHING:
            self.ranks.settled()
        if (wish.signum or cut) and self._saver is not None:
            self._saver.wait()
        if self.witness is not None and cut:
            self.witness.saved()
        if wish.signum:
            self._stop.leave(wish.signum)

    def _check_monitors(self, trainer: pl.Trainer) -> None:
        """Refuse to wait for a metric that an epoch and its validation have not logged."""
        if self._monitors_known or (trainer.enable_validation and not self._validated):
            return
        self._monitors_known = True
        missing = trainer.strategy.broadcast(monitors.missing(trainer))
        if missing:
            raise monitors.never_logged(missing, trainer, self._scripts)

    def end_is_due(self) -> bool:
        """Whether a resumed run has training's end still to come, and maybe nothing else."""
        return self.resuming() and self._policy.goes_on and not self._ended

    def ending(self) -> None:
        """What is recorded from here on belongs to the last boundary: a run that is resumed from
        there trains no more, and doesn't record it again."""
        if self._saves.owes and self._trainer is not None:
            self.save(self._trainer)
        self.in_batch = self.batches
        self._ending, self._recorded_at_end = True, False
        self.accounts.settle()

    def has_recorded_at_end(self) -> bool:
        """Whether anything was recorded since `ending`."""
        return self._recorded_at_end

    def ended(self, *, changed: bool) -> None:
        """Save the last boundary once more if training's end has changed or recorded anything."""
        assert self._trainer is not None
        self._ending = False
        if changed and not self._searching:
            self._ended = True
            self.save(self._trainer)

    def refuse_spoiled(self) -> None:
        """Raise where the weights are about to be saved, and aren't finite."""
        if self._nan is not None and self._trainer is not None and not self._searching:
            self._nan.refuse_spoiled(self._trainer, self._trainer.lightning_module)

    def remark(self, text: str) -> None:
        """Say it."""
        self._say(text)

    def save(self, trainer: pl.Trainer) -> None:
        """Make a checkpoint of this boundary; called on every rank."""
        self._look()
        self._saves.save(trainer, self.batches)

    def _look(self) -> None:
        """Before a state is kept: are signals still ours, and are the losses numbers?"""
        self._stop.take_back()
        if self._nan is not None:
            self._nan.check()


def _refuse_unsavable(trainer: Any) -> None:
    """Say at the start, not at the first save, that a state can't be saved."""
    states = {f"callback {each.state_key}": each.state_dict() for each in trainer.callbacks}
    if trainer.datamodule is not None:
        states[f"datamodule {type(trainer.datamodule).__name__}"] = trainer.datamodule.state_dict()
    for owner, values in states.items():
        try:
            plain.encode(values, f"{owner}: its state_dict()")
        except SaveFailed as error:
            raise ConfigurationError(error.message, hint=error.hint) from None
