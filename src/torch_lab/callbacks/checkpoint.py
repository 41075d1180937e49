"""When a run saves, and which of its checkpoints is the best."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from torch_lab.errors import ConfigurationError
from torch_lab.utils.metric_names import USUAL_MONITORS

_OURS = re.compile(r"last|best|crash|step-.*")


class RunCheckpoint(pl.Callback):
    """Decides when the run's own checkpoints are due; a run has one, yours or the default.

    A checkpoint is due at each epoch's end, after `every_n_steps` batches, after `every_minutes`,
    and when `monitor` is better than ever before in this run. Without `monitor` the best is the
    one with the lowest validation loss. What is left open comes from hparams' checkpoint section,
    then from the project's settings.

    Checkpoints of an estimator whose rounds are shorter than a save wait for a while, unless
    `every_n_steps` asks for them.

    An experiment that has none, but a ModelCheckpoint with a `monitor`, has the best by that one.

    A ModelCheckpoint beside it writes to the same folder; where it would take the name of one of
    the run's own files, as with `save_last=True`, its file is called `callback-last.ckpt`.
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
            raise _wrong("mode", mode, "expected 'min' or 'max'")
        if mode == "max" and monitor is None:
            raise _wrong("mode", mode, "without monitor the lowest validation loss is the best")
        for name, value in (("every_n_steps", every_n_steps), ("keep", keep)):
            if value is not None and (type(value) is not int or value < 1):
                raise _wrong(name, value, "expected a whole number of at least 1")
        if every_minutes is not None and not every_minutes > 0:
            raise _wrong("every_minutes", every_minutes, "expected a number above 0")
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self.keep = keep
        self.best_value: float | None = None
        self._goes_on = True
        self._validated = False  # ever in this fit
        self._to_compare = False  # since the last boundary
        self._improved = False
        self._saved_batch = 0
        self._saved_at = time.monotonic()

    def fill(
        self,
        *,
        every_n_steps: int | None,
        every_minutes: float | None,
        keep: int,
        goes_on: bool = True,
    ) -> None:
        """Take over what the callback leaves open, and whether its run goes on or is a new one."""
        if self.every_n_steps is None:
            self.every_n_steps = every_n_steps
        if self.every_minutes is None:
            self.every_minutes = every_minutes
        if self.keep is None:
            self.keep = keep
        self._goes_on = goes_on

    @property
    def goes_on(self) -> bool:
        """Whether a checkpoint that is loaded is of this very run."""
        return self._goes_on

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let no ModelCheckpoint write over the run's own files, nor have its own replaced."""
        for each in trainer.checkpoint_callbacks:
            if isinstance(each, ModelCheckpoint) and each.dirpath is None:
                # By itself it would go by the logger's name and version, which a run has none of.
                each.dirpath = str(Path(trainer.log_dir or ".") / "checkpoints")
                each.CHECKPOINT_NAME_LAST = _not_ours(each.CHECKPOINT_NAME_LAST)
                each.filename = each.filename and _not_ours(each.filename)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count minutes from here."""
        self._saved_at = time.monotonic()

    def resumed_at(self, batch: int) -> None:
        """A checkpoint of `batch` exists: none is due there again."""
        self._saved_batch = batch

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare at the boundary that follows, when everything has been logged."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated = self._to_compare = True

    def due(self, trainer: pl.Trainer, batch: int, *, epoch_end: bool) -> bool:
        """Whether the run is to save at this boundary; time is asked for by `time_is_up`."""
        if self._to_compare or epoch_end:
            self._compare(trainer)
        if batch == self._saved_batch:
            return False
        by_count = self.every_n_steps is not None and batch % self.every_n_steps == 0
        return epoch_end or self._improved or by_count

    def _compare(self, trainer: pl.Trainer) -> None:
        """See whether this is the best so far; a value from before the last look isn't better."""
        self._to_compare = False
        value = trainer.strategy.broadcast(self._monitored(trainer))
        if value is not None and self._better(value):
            self.best_value, self._improved = value, True

    def _monitored(self, trainer: pl.Trainer) -> float | None:
        if self.monitor is None and not self._validated:
            return None  # a new run's metrics begin with those of the run it starts from
        metrics = trainer.callback_metrics
        names = USUAL_MONITORS if self.monitor is None else (self.monitor,)
        return next((float(metrics[name]) for name in names if name in metrics), None)

    def _better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best_value is None:
            return True
        return value < self.best_value if self.mode == "min" else value > self.best_value

    def time_is_up(self) -> bool:
        """Whether `every_minutes` have passed since the last save."""
        if self.every_minutes is None:
            return False
        return time.monotonic() - self._saved_at >= 60 * self.every_minutes

    def take(self, batch: int) -> bool:
        """Note that a checkpoint is being made at `batch`; returns whether it is the best."""
        self._saved_batch, self._saved_at = batch, time.monotonic()
        best, self._improved = self._improved, False
        return best

    def put_off(self) -> bool:
        """Note that the save which is due is made later; returns whether this is the best."""
        best, self._improved = self._improved, False
        return best

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best_value": self.best_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with what was best before the cut; a new run has a best of its own."""
        if self._goes_on:
            self.best_value = state_dict["best_value"]


def _wrong(name: str, value: object, why: str) -> ConfigurationError:
    return ConfigurationError(f"RunCheckpoint({name}={value!r}): {why}")


def _not_ours(name: str) -> str:
    return f"callback-{name}" if _OURS.fullmatch(name) else name
