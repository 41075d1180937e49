"""The boundaries of a run: where it saves, where it stops, and where a resumed one goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
import torch.distributed

from torch_lab.callbacks import NanMonitor, RunCheckpoint
from torch_lab.checkpoints import plain
from torch_lab.checkpoints.files import write_draft
from torch_lab.checkpoints.keeper import SavePoint
from torch_lab.engine import lightning, state
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import CheckpointMismatch, ConfigurationError, SaveFailed, Stopped
from torch_lab.metric_states import Attributes

FORMAT = 1
_AGREE_EVERY = 1.0  # seconds between two looks at what the other ranks want


class Saver(Protocol):
    """What becomes of a checkpoint; on ranks other than 0, and in bare use, nothing does."""

    def path(self, batch: int) -> Any:
        """Where the checkpoint of `batch` belongs."""

    def finish(self, draft: Any, point: SavePoint) -> None:
        """Publish what was written."""

    def raise_if_failed(self) -> None:
        """Raise a failure of an earlier `finish`."""

    def wait(self) -> None:
        """Return when everything is on disk."""


class Draft:
    """Rides along with Trainer.save_checkpoint: the file is written but not yet named."""

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        self.path: Any = None

    def write(self, checkpoint: dict[str, Any], path: Any) -> None:
        """Called by the checkpoint plugin on the rank that writes."""
        if self.wanted:
            self.path = write_draft(checkpoint, path)


class SavePoints(pl.Callback):
    """Saves, stops and goes on at boundaries; `in_batch` numbers the batch that rows belong to."""

    def __init__(
        self,
        policy: RunCheckpoint,
        nan: NanMonitor | None,
        stop: StopRequest,
        saver: Saver | None,
    ) -> None:
        self._policy = policy
        self._nan = nan
        self._stop = stop
        self._saver = saver
        self._trainer: pl.Trainer | None = None
        self._pristine: Attributes = {}
        self._saving: SavePoint | None = None
        self._loaded: Mapping[str, Any] | None = None
        self._next_agreement = 0
        self._agreed = (0, time.monotonic())
        self.batches = 0
        self.in_batch = 0

    def attach(self, trainer: pl.Trainer) -> None:
        """Let the trainer fit with loops that tell this callback their boundaries."""
        self._trainer = trainer
        lightning.install_loops(trainer, self)

    # -- Lightning's hooks ------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """See the metrics before anything updates them: the baseline validation has them first."""
        self._pristine = self._pristine or state.pristine(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here signals wait for a boundary; Lightning has put its own handlers on top."""
        _refuse_unsavable(trainer)
        self._stop.take_back()
        self._stop.deferring = True
        self.in_batch = self.batches + 1

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """From here they end the run at once again."""
        self._stop.deferring = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning leaves out; on every rank, since each has its own."""
        point = self._saving
        checkpoint["torch_lab"] = {
            "format": FORMAT,
            "boundary": point is not None,
            "batch": lightning.batches_done(trainer),
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "best": point is not None and point.best,
            "metrics": dict(point.metrics) if point else {},
            "world_size": trainer.world_size,
            "ranks": state.gathered(state.capture(trainer, self._pristine)),
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep this rank's part until training is about to go on."""
        own = checkpoint.get("torch_lab")
        if own is None:
            return
        if own["format"] > FORMAT:
            raise CheckpointMismatch(
                f"the checkpoint's training state has format {own['format']};"
                f" this version of torch-lab reads up to {FORMAT}"
            )
        self.batches = own["batch"]
        self._loaded = own if own["boundary"] else None

    # -- the loops' --------------------------------------------------------------------------

    def resuming(self) -> bool:
        """Whether a checkpoint made at a boundary was loaded."""
        return self._loaded is not None

    def going_on(self) -> None:
        """Restore this rank's state just before what followed the save."""
        loaded, self._loaded = self._loaded, None
        assert loaded is not None
        assert self._trainer is not None
        ranks = loaded["ranks"]
        if len(ranks) == self._trainer.world_size:
            state.restore(self._trainer, ranks[self._trainer.global_rank])
        self._policy.resumed_at(self.batches)

    def reached(self, *, epoch_end: bool) -> None:
        """Save if it is time; end if a signal asked for it."""
        trainer = self._trainer
        assert trainer is not None
        self.batches = batch = lightning.batches_done(trainer)
        self.in_batch = batch + 1
        if self._saver is not None:
            self._saver.raise_if_failed()
        signum, time_is_up = self._wishes(trainer, batch, epoch_end)
        due = self._policy.due(trainer, batch, epoch_end=epoch_end)  # also where a signal came
        if signum or time_is_up or due:
            self.save(trainer)
        if signum:
            if self._saver is not None:
                self._saver.wait()
            raise Stopped(signum)

    def ended_with_other_weights(self) -> None:
        """Save the last boundary once more, with the weights that training leaves."""
        assert self._trainer is not None
        self.save(self._trainer)

    def _wishes(self, trainer: pl.Trainer, batch: int, epoch_end: bool) -> tuple[int, bool]:
        """A signal's number and whether time is up, the same on all ranks."""
        signum, time_is_up = self._stop.signum or 0, self._policy.time_is_up()
        if trainer.world_size == 1:
            return signum, time_is_up
        if batch < self._next_agreement and not epoch_end:
            return 0, False
        before, then = self._agreed
        now = time.monotonic()
        pace = int(_AGREE_EVERY * (batch - before) / max(now - then, 1e-9))
        wishes = torch.tensor([signum, int(time_is_up), -max(1, pace)])
        wishes = wishes.to(trainer.strategy.root_device)
        torch.distributed.all_reduce(wishes, op=torch.distributed.ReduceOp.MAX)
        signum, up, pace = wishes.tolist()
        self._agreed, self._next_agreement = (batch, now), batch - pace
        return signum, bool(up)

    def save(self, trainer: pl.Trainer) -> None:
        """Make a checkpoint of this boundary; called on every rank."""
        if self._nan is not None:
            self._nan.check()
        self._saving = point = SavePoint(
            batch=self.batches,
            step=trainer.global_step,
            epoch=trainer.current_epoch,
            metrics=_numbers(trainer.callback_metrics),
            best=self._policy.take(self.batches),
        )
        draft = Draft(wanted=self._saver is not None)
        try:
            if self._saver is not None:
                self._saver.wait()  # two saves never overlap
            target = self._saver.path(self.batches) if self._saver else "unused"
            trainer.save_checkpoint(target, storage_options=draft)
        finally:
            self._saving = None
        if self._saver is not None:
            self._saver.finish(draft.path, point)


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


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if value.numel() == 1}
