"""When a run saves, and which of its checkpoints is the best."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import pytorch_lightning as pl

from torch_lab.errors import ConfigurationError

USUAL_MONITORS = ("loss/validate", "val_loss", "val/loss", "loss/val")


class RunCheckpoint(pl.Callback):
    """Decides when the run's own checkpoints are due; a run has one, yours or the default.

    A checkpoint is due at each epoch's end, after `every_n_steps` batches, after `every_minutes`,
    and when `monitor` is better than ever before. Without `monitor` the best is the one with the
    lowest validation loss. What is left open comes from hparams' checkpoint section, then from the
    project's settings.
    """

    def __init__(
        self,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        every_n_steps: int | None = None,
        every_minutes: float | None = None,
        keep: int | None = None,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"RunCheckpoint(mode={mode!r}): expected 'min' or 'max'")
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self.keep = keep
        self.best_value: float | None = None
        self.best_batch: int | None = None
        self._improved = False
        self._saved_batch = 0
        self._saved_at = time.monotonic()

    def fill(self, *, every_n_steps: int | None, every_minutes: float | None, keep: int) -> None:
        """Take over what the callback itself leaves open."""
        if self.every_n_steps is None:
            self.every_n_steps = every_n_steps
        if self.every_minutes is None:
            self.every_minutes = every_minutes
        if self.keep is None:
            self.keep = keep

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count minutes from here."""
        self._saved_at = time.monotonic()

    def resumed_at(self, batch: int) -> None:
        """A checkpoint of `batch` exists: none is due there again."""
        self._saved_batch = batch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See whether this validation is the best so far."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        value = self._monitored(trainer)
        if value is not None and self._better(value):
            self.best_value, self._improved = value, True

    def _monitored(self, trainer: pl.Trainer) -> float | None:
        metrics = trainer.callback_metrics
        if self.monitor is not None and self.monitor not in metrics:
            logged = ", ".join(sorted(metrics)) or "nothing"
            raise ConfigurationError(
                f"RunCheckpoint(monitor={self.monitor!r}): that is never logged",
                hint=f"Logged so far: {logged}",
            )
        names = USUAL_MONITORS if self.monitor is None else (self.monitor,)
        return next((float(metrics[name]) for name in names if name in metrics), None)

    def _better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best_value is None:
            return True
        return value < self.best_value if self.mode == "min" else value > self.best_value

    def due(self, batch: int, *, epoch_end: bool) -> bool:
        """Whether the run is to save at this boundary; time is asked for by `time_is_up`."""
        if batch == self._saved_batch:
            return False
        by_count = self.every_n_steps is not None and batch % self.every_n_steps == 0
        return epoch_end or self._improved or by_count

    def time_is_up(self) -> bool:
        """Whether `every_minutes` have passed since the last save."""
        if self.every_minutes is None:
            return False
        return time.monotonic() - self._saved_at >= 60 * self.every_minutes

    def take(self, batch: int) -> bool:
        """Note that a checkpoint is being made at `batch`; returns whether it is the best."""
        self._saved_batch, self._saved_at = batch, time.monotonic()
        best, self._improved = self._improved, False
        if best:
            self.best_batch = batch
        return best

    def state_dict(self) -> dict[str, Any]:
        """The best value so far and where it was reached."""
        return {
            "best_value": self.best_value,
            "best_batch": self.best_batch,
            "improved": self._improved,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with what was best before the cut."""
        self.best_value = state_dict["best_value"]
        self.best_batch = state_dict["best_batch"]
        self._improved = state_dict["improved"]
