"""A loss that is no number ends the run before it reaches a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytorch_lightning as pl
import torch
import torch.distributed

from torch_lab.callbacks import samples as naming
from torch_lab.errors import ConfigurationError, NonFiniteLoss

_Bad: TypeAlias = tuple[int, int, str]  # epoch, batch, and the words for it
_HINT = (
    "The last checkpoint was saved before that. A lower learning rate, gradient clipping"
    " (trainer.init.gradient_clip_val) or those samples are where to look."
)


class NanMonitor(pl.Callback):
    """Stops the run when the training loss is NaN or infinite, naming batch and samples.

    Losses are looked at `every` batches, together and without waiting for the device in between,
    and before each checkpoint; so are the weights there, which can be spoiled by a step whose loss
    was still finite.
    """

    def __init__(self, every: int = 50) -> None:
        if type(every) is not int or every < 1:
            raise ConfigurationError(
                f"NanMonitor(every={every!r}): expected a whole number of at least 1"
            )
        self.every = every
        self._seen: list[tuple[int, int, torch.Tensor, Any]] = []
        self._found: NonFiniteLoss | None = None
        self._trainer: pl.Trainer | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """All processes look at the same time, and agree on what they see."""
        self._trainer = trainer

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
        if isinstance(loss, torch.Tensor):
            sample = (trainer.current_epoch, batch_idx, loss.detach(), naming.told(batch))
            self._seen.append(sample)
        if (batch_idx + 1) % self.every == 0:
            self.check()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what is left of the epoch."""
        self.check()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep spoiled weights out of every checkpoint, a ModelCheckpoint's too."""
        self.check()
        names = _spoiled(pl_module)
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._found = NonFiniteLoss(
                f"weights became NaN or infinite by epoch {trainer.current_epoch + 1}, step"
                f" {trainer.global_step}, with a finite loss: {names[0]}{more}",
                hint=_HINT,
            )
            raise self._found

    def check(self) -> None:
        """Raise NonFiniteLoss if any loss so far was no number."""
        if self._found is not None:
            raise self._found
        seen, self._seen = self._seen, []
        found = self._agreed(_first_bad(seen, self._indices))
        if found is not None:
            self._found = NonFiniteLoss(found[-1], hint=_HINT)
            raise self._found

    def _indices(self, epoch: int, batch: int) -> Any:
        """Which samples an exact loader put into a batch of the epoch under way."""
        loader = self._trainer.train_dataloader if self._trainer is not None else None
        return naming.drawn([loader], batch, epoch=epoch)

    def _agreed(self, found: _Bad | None) -> _Bad | None:
        """The first of all processes' findings: the gradients of one spoil the others' weights."""
        if self._trainer is None or self._trainer.world_size == 1:
            return found
        strategy = self._trainer.strategy
        if not strategy.reduce_boolean_decision(found is not None, all=False):
            return None
        every: list[_Bad | None] = [None] * self._trainer.world_size
        torch.distributed.all_gather_object(every, found)
        return min(each for each in every if each is not None)


def _first_bad(
    seen: Sequence[tuple[int, int, torch.Tensor, Any]], indices: Callable[[int, int], Any]
) -> _Bad | None:
    if not seen:
        return None
    losses = torch.stack([loss.float().mean() for _, _, loss, _ in seen])
    if bool(torch.isfinite(losses).all()):
        return None
    bad = int((~torch.isfinite(losses)).nonzero()[0])
    epoch, batch, _, samples = seen[bad]
    samples = indices(epoch, batch) if samples is None else samples
    said = f"the loss became {losses[bad].item()} in {naming.place(epoch, batch, samples)}"
    return epoch, batch, said


def _spoiled(module: pl.LightningModule) -> list[str]:
    """The trained parameters that hold something else than finite numbers."""
    trained = {
        name: each.detach()
        for name, each in module.named_parameters()
        # sharded ones can't be looked at from one process
        if each.requires_grad and type(each) is torch.nn.Parameter and each.is_floating_point()
    }
    # A sum is finite only if all its terms are, and reads them once, without a copy; it may
    # overflow over finite ones, so that a second look decides.
    sums = [each.sum(dtype=torch.float32).to(module.device) for each in trained.values()]
    if not sums or bool(torch.isfinite(torch.stack(sums)).all()):
        return []
    return [name for name, each in trained.items() if not bool(torch.isfinite(each).all())]
