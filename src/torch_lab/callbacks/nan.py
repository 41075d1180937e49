"""A loss that is no number ends the run before it reaches a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.distributed
from torch import Tensor

from torch_lab.callbacks import samples as naming
from torch_lab.callbacks import suspects
from torch_lab.callbacks.gradients import Gradients, Largest
from torch_lab.errors import ConfigurationError, NonFiniteLoss
from torch_lab.utils.metric_names import USUAL_MONITORS
from torch_lab.utils.text import plural

_HINT = (
    "No checkpoint holds it. A lower learning rate, gradient clipping"
    " (trainer.init.gradient_clip_val) or those samples are where to look."
)
_ASK = (
    " NanMonitor(gradients=True) among the callbacks tells in which batch, and which parameter's"
    " gradient was the first."
)


class _Step(NamedTuple):
    """What was seen of a batch, where it was computed."""

    epoch: int
    batch: int
    losses: Sequence[Tensor]
    gradients: Sequence[Largest]
    samples: Any


@dataclass(frozen=True)
class _Bad:
    """The first batch that went wrong, in words."""

    epoch: int
    batch: int
    samples: Any
    words: str

    def error(self) -> NonFiniteLoss:
        place = {"epoch": self.epoch, "batch": self.batch, "samples": self.samples}
        return NonFiniteLoss(self.words, hint=_HINT, **place)


class NanMonitor(pl.Callback):
    """Stops the run when the training loss is NaN or infinite, naming batch and samples.

    Losses are looked at `every` batches, together and without waiting for the device in between,
    and before each checkpoint; so are the weights there, which can be spoiled by a step whose loss
    was still finite. With `gradients` each batch's gradients are looked at, too, which costs a
    little for each parameter; not so under a loss scaler (precision "16-mixed"), which tries out
    what makes them infinite. Of a validation loss that is NaN or infinite a line tells.

    With manual optimization, losses are those given to `manual_backward`.
    """

    def __init__(self, every: int = 50, gradients: bool = False) -> None:
        if type(every) is not int or every < 1:
            raise ConfigurationError(
                f"NanMonitor(every={every!r}): expected a whole number of at least 1"
            )
        self.every = every
        self.gradients = gradients
        self.say: Callable[[str], None] = print
        self.sound: Callable[[], suspects.Sound | None] = lambda: None  # the last good weights
        self._trainer: pl.Trainer | None = None
        self._told = False
        self._begin()

    def _begin(self) -> None:
        self._seen: list[tuple[int, int, Sequence[Tensor], Sequence[Largest], Any]] = []
        self._losses: list[Tensor] = []
        self._largest: list[Largest] = []
        self._looking = Gradients()
        self._found: NonFiniteLoss | None = None
        self._alone = False

    # -- what is seen ------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """All processes look at the same time, and agree on what they see."""
        self._trainer = trainer
        if stage != "fit":
            return
        self._begin()
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        self._skip("on_before_backward", unless=not pl_module.automatic_optimization)
        self._skip("on_after_backward", unless=self.gradients and not scaled)

    def _skip(self, hook: str, *, unless: bool) -> None:
        """Spare each batch the call of a hook; Lightning passes over one that isn't callable."""
        vars(self).pop(hook, None)
        if not unless and getattr(type(self), hook) is getattr(NanMonitor, hook):
            setattr(self, hook, None)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See the parameters; a run that goes on in mid-epoch begins no epoch."""
        if callable(self.on_after_backward):
            self._looking.follow(pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See those that there are now."""
        self.on_train_start(trainer, pl_module)

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Remember a loss that training_step needn't return."""
        self._losses.append(loss.detach())

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember how large the gradients are."""
        largest = self._looking.look(pl_module.device)
        if largest is not None:
            self._largest.append(largest)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Remember the loss, and look when enough have come together."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        losses: Sequence[Tensor] = (loss.detach(),) if isinstance(loss, Tensor) else ()
        largest: Sequence[Largest] = ()
        if self._losses:
            losses, self._losses = self._losses, []
        if self._largest:
            largest, self._largest = self._largest, []
            self._looking.leave()
        if losses or largest:  # made a _Step of only where one is looked into: it takes longer
            told = naming.told(batch)
            self._seen.append((trainer.current_epoch, batch_idx, losses, largest, told))
        if (batch_idx + 1) % self.every == 0:
            self.check()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what is left of the epoch."""
        self.check()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look before that much is computed in vain."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.check()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell once of a validation loss that is no number; it spoils nothing."""
        if self._told or trainer.sanity_checking or not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        losses = {n: float(metrics[n]) for n in USUAL_MONITORS if n in metrics}
        for name, value in losses.items():
            if not self._told and not _finite(value):
                self._told = True
                when = f" of epoch {trainer.current_epoch + 1}" * (trainer.state.fn == "fit")
                self.say(f"{name} is {value} in the validation{when}; training goes on")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """From here the other processes can't be asked: they may be gone, or elsewhere."""
        self._alone = True

    # -- what is found -----------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep spoiled weights out of every checkpoint, a ModelCheckpoint's too."""
        self.check()
        self.refuse_spoiled(trainer, pl_module)

    def refuse_spoiled(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise where weights aren't finite; without asking other processes."""
        names = spoiled(pl_module)
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._found = NonFiniteLoss(
                f"weights became NaN or infinite by epoch {trainer.current_epoch + 1}, step"
                f" {trainer.global_step}, with a finite loss: {names[0]}{more}",
                hint=_HINT + ("" if self.gradients else _ASK),
            )
            raise self._found

    def check(self) -> None:
        """Raise NonFiniteLoss if any loss so far was no number."""
        if self._found is not None:
            raise self._found
        seen, self._seen = self._seen, []
        found = self._agreed(self._first_bad([_Step(*each) for each in seen]))
        if found is not None:
            self._found = found.error()
            raise self._found

    def _first_bad(self, seen: Sequence[_Step]) -> _Bad | None:
        """The first batch with a bad loss or gradient; the loss, where both are."""
        if not seen:
            return None
        values = [loss.float().mean() for step in seen for loss in step.losses]
        values += [each.values.amax() for step in seen for each in step.gradients]
        if bool(torch.isfinite(torch.stack(values)).all()):
            return None
        for step in seen:
            if words := self._wrong_loss(step):
                return self._bad(step, words, self._sound())
            if words := self._wrong_gradient(step):
                return self._bad(step, words, None)
        return None

    def _sound(self) -> Callable[[], suspects.Sound | None]:
        """The weights to look into a loss with: an earlier step's, once they are spoiled."""
        module = None if self._trainer is None else self._trainer.lightning_module
        return self.sound if module is None or spoiled(module) else suspects.as_it_is

    def _wrong_loss(self, step: _Step) -> str:
        values = [float(loss.float().mean()) for loss in step.losses]
        wrong = [i for i, value in enumerate(values) if not _finite(value)]
        if not wrong:
            return ""
        which = f" (number {wrong[0] + 1} of {len(values)})" if len(values) > 1 else ""
        return f"the loss{which} became {values[wrong[0]]}"

    def _wrong_gradient(self, step: _Step) -> str:
        for largest in step.gradients:
            values = dict(zip(largest.names, largest.values.tolist(), strict=True))
            wrong = [name for name, value in values.items() if not _finite(value)]
            if wrong:
                first, *others = self._looking.in_order(wrong)
                more = f", then those of {plural(len(others), 'other')}" if others else ""
                return f"the gradient of {first} became {values[first]}{more}, the loss finite,"
        return ""

    def _bad(
        self, step: _Step, words: str, sound: Callable[[], suspects.Sound | None] | None
    ) -> _Bad:
        samples = self._indices(step.epoch, step.batch) if step.samples is None else step.samples
        words = f"{words} in {naming.place(step.epoch, step.batch, samples)}"
        suspect = self._suspect(step, sound)
        if suspect is not None:
            words, samples = f"{words}; {suspect.words}", suspect.samples or samples
        return _Bad(step.epoch, step.batch, samples, words)

    def _suspect(
        self, step: _Step, sound: Callable[[], suspects.Sound | None] | None
    ) -> suspects.Found | None:
        """Which samples of the batch are to blame, if that can be told."""
        trainer = self._trainer
        if trainer is None or trainer.current_epoch != step.epoch:
            return None
        try:
            return suspects.look(trainer, trainer.lightning_module, step.batch, sound)
        except Exception:  # noqa: BLE001 - any: people's code, called in a way it was not meant for
            return None

    def _indices(self, epoch: int, batch: int) -> Any:
        """Which samples an exact loader put into a batch of the epoch under way."""
        loader = self._trainer.train_dataloader if self._trainer is not None else None
        return naming.drawn([loader], batch, epoch=epoch)

    def _agreed(self, found: _Bad | None) -> _Bad | None:
        """The first of all processes' findings: the gradients of one spoil the others' weights."""
        if self._trainer is None or self._trainer.world_size == 1 or self._alone:
            return found
        strategy = self._trainer.strategy
        if not strategy.reduce_boolean_decision(found is not None, all=False):
            return None
        every: list[_Bad | None] = [None] * self._trainer.world_size
        torch.distributed.all_gather_object(every, found)
        findings = [each for each in every if each is not None]
        return min(findings, key=lambda each: (each.epoch, each.batch))


def _finite(value: float) -> bool:
    return value - value == 0


def spoiled(module: pl.LightningModule) -> list[str]:
    """The trained parameters, and statistics of batch norm, that are NaN or infinite."""
    watched = dict(_watched(module))
    # A sum is finite only if all its terms are, and reads them once, without a copy; it may
    # overflow over finite ones, so that a second look decides.
    sums = [each.sum(dtype=torch.float32).to(module.device) for each in watched.values()]
    if not sums or bool(torch.isfinite(torch.stack(sums)).all()):
        return []
    return [name for name, each in watched.items() if not bool(torch.isfinite(each).all())]


def _watched(module: pl.LightningModule) -> Iterator[tuple[str, Tensor]]:
    for name, each in module.named_parameters():
        # sharded ones can't be looked at from one process
        if each.requires_grad and type(each) is torch.nn.Parameter and each.is_floating_point():
            yield name, each.detach()
    for name, buffer in module.named_buffers():  # others may hold what they like, as masks do
        if name.endswith(("running_mean", "running_var")) and buffer.is_floating_point():
            yield name, buffer
