"""The last callback of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

if TYPE_CHECKING:
    from torch_lab.tasks.check.trial import Rehearsal


class Observer(pl.Callback):
    """The last callback of a trial: notes where it is, and ends it after one epoch."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Optimizers and schedulers are there."""
        self._rehearsal.begun(trainer)

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        """The batch is on its device."""
        self._rehearsal.phase = "step"

    def on_before_backward(self, *args: Any) -> None:
        """The loss is there."""
        self._rehearsal.phase = "backward"

    def on_before_optimizer_step(self, *args: Any) -> None:
        """The gradients are there."""
        self._rehearsal.phase = "optimizer"

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done."""
        self._rehearsal.trained(batch)
        self._rehearsal.phase = "epoch-end"

    def on_validation_start(self, *args: Any) -> None:
        """Validation begins."""
        self._rehearsal.stage, self._rehearsal.phase = "validate", "epoch-start"

    def on_validation_batch_end(self, *args: Any) -> None:
        """A batch was validated."""
        self._rehearsal.phase = "epoch-end"

    def on_test_batch_end(self, *args: Any) -> None:
        """A batch was tested."""
        self._rehearsal.phase = "epoch-end"

    def on_validation_end(self, *args: Any) -> None:
        """Back to the epoch's end, where this was within training."""
        if "train" in self._rehearsal.trial.losses:
            self._rehearsal.stage = "train"

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """One epoch is enough."""
        self._rehearsal.stage, self._rehearsal.phase = "train", "epoch-end"
        trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """All that a checkpoint holds is there."""
        self._rehearsal.ended(trainer)
