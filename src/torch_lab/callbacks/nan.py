"""A loss that is no number ends the run before it reaches a checkpoint."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from torch_lab.errors import NonFiniteLoss


class NanMonitor(pl.Callback):
    """Stops the run when the training loss is NaN or infinite, naming batch and samples.

    Losses are looked at `every` batches, together and without waiting for the device in between,
    and before each checkpoint.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._seen: list[tuple[int, int, torch.Tensor, Any]] = []

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
        if not isinstance(loss, torch.Tensor):
            return
        self._seen.append((trainer.current_epoch, batch_idx, loss.detach(), _samples(batch)))
        if len(self._seen) >= self.every:
            self.check()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at what is left of the epoch."""
        self.check()

    def check(self) -> None:
        """Raise NonFiniteLoss if any loss since the last look was no number."""
        seen, self._seen = self._seen, []
        if not seen:
            return
        losses = torch.stack([loss.float().mean() for _, _, loss, _ in seen])
        if bool(torch.isfinite(losses).all()):
            return
        bad = int((~torch.isfinite(losses)).nonzero()[0])
        epoch, batch_idx, _, samples = seen[bad]
        which = "" if samples is None else f", samples {_listed(samples)}"
        raise NonFiniteLoss(
            f"the loss became {losses[bad].item()} in epoch {epoch}, batch {batch_idx}{which}",
            hint="The last checkpoint was saved before that. A lower learning rate, gradient"
            " clipping (trainer.init.gradient_clip_val) or those samples are where to look.",
        )


def _samples(batch: Any) -> Any:
    """The samples' indices, where the batch's metadata tells them."""
    if isinstance(batch, (tuple, list)) and len(batch) > 1 and isinstance(batch[1], dict):
        return batch[1].get("index")
    return None


def _listed(samples: Any) -> str:
    numbers = samples.tolist() if isinstance(samples, torch.Tensor) else list(samples)
    shown = ", ".join(str(number) for number in numbers[:8])
    return f"{shown} and {len(numbers) - 8} more" if len(numbers) > 8 else shown
