"""Progress as people read it: one live line on a terminal, one lasting line an epoch anywhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, TextIO

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from torch_lab.store.console import LiveLine, current
from torch_lab.utils.metric_names import is_variant
from torch_lab.utils.streams import terminal_width
from torch_lab.utils.text import format_duration, plural

INTERVAL = 0.125  # seconds between two updates of the live line
SMOOTHING = 3.0  # seconds over which the rate is averaged
BAR = 20
SHOWN_METRICS = 12
STAGES = ("train", "validate", "test")


class Pace:
    """Batches a second, recent ones counting most."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self._last: tuple[int, float] | None = None

    def reach(self, batch: int, now: float) -> None:
        """Be told that so many batches are done."""
        if self._last is not None and batch > self._last[0] and now > self._last[1]:
            elapsed = now - self._last[1]
            rate = (batch - self._last[0]) / elapsed
            weight = 1.0 if self.rate is None else 1.0 - math.exp(-elapsed / SMOOTHING)
            self.rate = rate * weight + (self.rate or 0.0) * (1.0 - weight)
        self._last = (batch, now)

    def skip(self, seconds: float) -> None:
        """Leave a pause out."""
        if self._last is not None:
            self._last = (self._last[0], self._last[1] + seconds)

    @property
    def text(self) -> str:
        """The rate as it is shown, or nothing while it is unknown."""
        if not self.rate:
            return ""
        return f"{self.rate:.3g} it/s" if self.rate < 100 else f"{self.rate:.0f} it/s"


class EpochProgress(ProgressBar):
    """Shows epoch, batch, loss, rate and time left while it runs, and each epoch's metrics after.

    In a pipe or a file only the lasting lines are written. Only rank 0 writes.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._line: LiveLine | None = None
        self._enabled = True
        self._next = math.inf  # when the live line is due again
        self._pace = Pace()
        self._began = 0.0
        self._pending: tuple[str, float] | None = None
        self._said: dict[str, Any] = {}
        self._evaluation_pace = Pace()
        self._evaluation_began = 0.0
        self._validation_seconds = 0.0
        self._planned: int | None = None  # epochs; callbacks may add one for statistics

    def __getstate__(self) -> dict[str, Any]:
        """What a spawned rank gets: no streams, no trainer."""
        return {**vars(self), "_stream": None, "_line": None, "_trainer": None, "_said": {}}

    def disable(self) -> None:
        """Write nothing from now on."""
        self._erase()
        self._enabled = False
        self._next = math.inf

    def enable(self) -> None:
        """Write again."""
        self._enabled = True

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the terminal, if there is one."""
        super().setup(trainer, pl_module, stage)
        self._planned = trainer.max_epochs
        console = current() if self._stream is None else None
        self._line = console.line if console else LiveLine(self._stream or sys.stdout)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the live line away."""
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Take the live line away; an epoch that ended keeps its line."""
        if trainer.world_size == 1:  # else reading the metrics could wait for a rank that died
            self.say_epoch()
        self._stop()

    # Training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin; an epoch that is resumed midway has no start of its own."""
        self._start_epoch()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the epoch before went, and begin the next."""
        self.say_epoch()
        self._start_epoch()
        self._pace.reach(0, self._began)
        self._draw(self._epoch(trainer), 0, _batches_of_epoch(trainer, 0))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Redraw the live line if it is time."""
        now = monotonic()
        if now < self._next:
            return
        done = batch_idx + 1
        self._pace.reach(done, now)
        notes = (_loss(trainer, pl_module, outputs), self._pace.text, self._left(trainer, done))
        self._draw(self._epoch(trainer), done, _batches_of_epoch(trainer, done), notes)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the epoch; its line waits until the module's own hooks have logged as well."""
        self._pending = (self._epoch(trainer), monotonic() - self._began)
        self._next = math.inf

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the last epoch went."""
        self.say_epoch()
        self._stop()

    # Validation, within training or alone

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self._start_evaluation()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Redraw the live line if it is time."""
        if monotonic() < self._next or trainer.sanity_checking:
            return
        fitting = _fitting(trainer)
        head = f"{self._epoch(trainer)} validate" if fitting else "validate"
        self._draw_evaluation(
            head, trainer.num_val_batches, dataloader_idx, batch_idx, alone=not fitting
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how it went, unless the epoch's line will."""
        if trainer.sanity_checking:
            return
        if _fitting(trainer):
            self._validation_seconds = monotonic() - self._evaluation_began
            self._pace.skip(self._validation_seconds)
        else:
            self._say_evaluation("validate")

    # Test and prediction

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self._start_evaluation()

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Redraw the live line if it is time."""
        if monotonic() >= self._next:
            self._draw_evaluation("test", trainer.num_test_batches, dataloader_idx, batch_idx)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how it went."""
        self._say_evaluation("test")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self._start_evaluation()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Redraw the live line if it is time."""
        if monotonic() >= self._next:
            self._draw_evaluation("predict", trainer.num_predict_batches, dataloader_idx, batch_idx)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how much was predicted."""
        total = _total(trainer.num_predict_batches)
        self._say_evaluation(
            "predict" if total is None else f"predict  {plural(total, 'batch', 'batches')}"
        )

    # The live line

    def _start_epoch(self) -> None:
        self._began = monotonic()
        self._pace = Pace()
        self._watch()

    def _start_evaluation(self) -> None:
        self._evaluation_began = monotonic()
        self._evaluation_pace = Pace()
        self._watch()

    def _watch(self) -> None:
        live = self._enabled and self._line is not None and self._line.possible
        self._next = 0.0 if live else math.inf

    def _stop(self) -> None:
        self._next = math.inf
        self._erase()

    def _erase(self) -> None:
        if self._line is not None:
            self._line.erase()

    def _draw_evaluation(
        self,
        head: str,
        totals: Sequence[float],
        loader: int,
        batch_idx: int,
        *,
        alone: bool = True,
    ) -> None:
        done = sum(int(total) for total in totals[:loader] if math.isfinite(total)) + batch_idx + 1
        pace = self._evaluation_pace
        pace.reach(done, monotonic())
        total = _total(totals)
        left = (total - done) / pace.rate if alone and total and pace.rate else None
        self._draw(head, done, total, (pace.text, _left(left)))

    def _epoch(self, trainer: pl.Trainer) -> str:
        number, last = trainer.current_epoch + 1, self._planned
        if last is None or last <= 0:
            return f"epoch {number}"
        # StochasticWeightAveraging passes over the data once more, for batch norm.
        return f"epoch {number}/{last}" if number <= last else f"after epoch {last}/{last}"

    def _draw(self, head: str, done: int, total: float | None, notes: Sequence[str] = ()) -> None:
        if self._line is None or not self._line.possible or not self._enabled:
            return
        plain = not _encodable(self._line.stream)
        where = f"{head} {_bar(done, total, plain=plain, room=_room(self._line))}"
        separator = " | " if plain else " · "
        self._line.draw(separator.join(part for part in (where, *notes) if part))
        self._next = monotonic() + INTERVAL

    def _left(self, trainer: pl.Trainer, done: int) -> str:
        """The time left, of all epochs where their number is known."""
        rate, total = self._pace.rate, trainer.num_training_batches
        if not rate:
            return ""
        epochs = _epochs_left(trainer)
        later = epochs * total if epochs else 0  # 0 times infinity is no number
        batches = min(total - done + later, _batches_by_steps(trainer))
        if not math.isfinite(batches):
            return ""
        seconds = batches / rate + (epochs or 0) * self._validation_seconds
        known = epochs is not None or trainer.max_steps > 0
        return _left(seconds) if known else f"{_left(seconds)} in epoch"

    # The lasting lines

    def say_epoch(self) -> None:
        """Say how the epoch went, once; a run does when the last of its hooks has logged."""
        if self._pending is not None:
            head, seconds = self._pending
            self._pending = None
            self._say(head, seconds)

    def _say_evaluation(self, head: str) -> None:
        self._say(head, monotonic() - self._evaluation_began)
        self._next = math.inf

    def _say(self, head: str, seconds: float) -> None:
        """One line that stays, with the metrics that are new since the line before."""
        self._erase()
        if not self._enabled:
            return
        metrics = dict(self.trainer.callback_metrics)
        # A metric that nobody logged since (validation every other epoch) is still the same object.
        new = {name: value for name, value in metrics.items() if self._said.get(name) is not value}
        self._said = metrics
        parts = (head, *_format_metrics(new), f"({format_duration(seconds)})")
        print("  ".join(parts), file=self._stream or sys.stdout, flush=True)


def _fitting(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == "fit"


def _epochs_left(trainer: pl.Trainer) -> int | None:
    """Epochs after this one, if their number is known."""
    last = trainer.max_epochs
    return max(last - trainer.current_epoch - 1, 0) if last is not None and last > 0 else None


def _batches_of_epoch(trainer: pl.Trainer, done: int) -> float:
    return min(trainer.num_training_batches, done + _batches_by_steps(trainer))


def _batches_by_steps(trainer: pl.Trainer) -> float:
    if trainer.max_steps <= 0:
        return math.inf
    return max(trainer.max_steps - trainer.global_step, 0) * trainer.accumulate_grad_batches


def _loss(trainer: pl.Trainer, module: pl.LightningModule, outputs: Any) -> str:
    """The newest loss; reading it waits for the device, so only a line that is drawn asks."""
    loss = getattr(module, "last_loss", None)
    if loss is None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None and module.automatic_optimization:
            loss = loss * trainer.accumulate_grad_batches  # Lightning has divided it
    try:
        return f"loss {float(loss):.4g}"  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # a dict of losses, several values, no loss
        return ""


def _total(totals: Sequence[float]) -> int | None:
    return int(sum(totals)) if totals and all(map(math.isfinite, totals)) else None


def _bar(done: int, total: float | None, *, plain: bool, room: int) -> str:
    if total is None or not math.isfinite(total) or total <= 0:
        return plural(done, "batch", "batches")
    full, empty = ("#", "-") if plain else ("━", "─")
    filled = min(int(room * done / total), room)
    return f"{full * filled}{empty * (room - filled)} {done}/{int(total)}".lstrip()


def _room(line: LiveLine) -> int:
    """How long the bar may be: the numbers matter more."""
    return min(max((terminal_width(line.stream) or 80) - 60, 0), BAR)


def _encodable(stream: Any) -> bool:
    try:
        "━─·".encode(stream.encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{clock} left"


def _format_metrics(metrics: Mapping[str, Any]) -> list[str]:
    """Each metric once, those of training first."""
    names = sorted((name for name in metrics if not is_variant(name, metrics)), key=_stage)
    shown = [f"{name} {float(metrics[name]):.4g}" for name in names[:SHOWN_METRICS]]
    hidden = len(names) - len(shown)
    return [*shown, f"… {hidden} more"] if hidden else shown


def _stage(name: str) -> int:
    """Training first; names that say no stage come after, in the order they were logged."""
    return next((i for i, stage in enumerate(STAGES) if stage in name), len(STAGES))
