"""Accumulated gradients weighed so that their sum is the gradient of one big batch.

Lightning divides every loss by accumulate_grad_batches. So the batches of a shorter last window
count too little, and a smaller batch as much as the others. Here a batch counts with its share of
its window's samples, which is right for losses that are means over samples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loops.optimization.automatic import ClosureResult, _AutomaticOptimization

from torch_lab.data import DataLoader

Size = tuple[int, float]  # samples of a batch: this process's, and the mean over all processes

_ALIKE = (
    "accumulate_grad_batches: how many samples a batch of {} holds isn't known;"
    " all batches of a window count alike"
)
_AS_LIGHTNING = (
    "accumulate_grad_batches: how many batches an epoch has isn't known; those of a shorter last"
    " window count a {}th each, as if it were whole"
)


class Optimization(_AutomaticOptimization):
    """Lightning's, with each batch's own share in the gradient of its window."""

    def __init__(self, trainer: pl.Trainer, say: Callable[[str], None]) -> None:
        super().__init__(trainer)
        self._say = say
        self._said: set[str] = set()
        self._window: int | None = None
        self._factors: Mapping[int, float] = {}

    def begin_epoch(self) -> None:
        """Weigh anew: what loaders and callbacks have chosen for the epoch stands from here."""
        self._window = None

    def _training_step(self, kwargs: OrderedDict[str, Any]) -> ClosureResult:
        result = super()._training_step(kwargs)
        window = self.trainer.accumulate_grad_batches
        if window != 1 and result.closure_loss is not None:
            self._weigh(result, window)
        return result

    def _weigh(self, result: ClosureResult, window: int) -> None:
        """Correct what Lightning has divided by the window's usual length.

        `result.loss`, which hooks see, stays as Lightning has it.
        """
        if window != self._window:  # a callback may change it in mid-epoch, too
            self._window, self._factors = window, self._weights(window)
        batch = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        factor = self._factors.get(batch)
        if factor is not None and result.closure_loss is not None:
            result.closure_loss = result.closure_loss * factor

    def _weights(self, window: int) -> Mapping[int, float]:
        trainer: Any = self.trainer
        if trainer.strategy.handles_gradient_accumulation:
            return {}
        combined, batches = trainer.fit_loop._combined_loader, trainer.num_training_batches
        sizes = sizes_of(combined.flattened)
        if sizes is not None:
            return weights(sizes[: min(batches, len(sizes))], window)
        if batches == float("inf"):
            self._say_once(_AS_LIGHTNING.format(window))
            return {}
        names = {type(each).__name__ for each in combined.flattened}
        self._say_once(_ALIKE.format(" and ".join(sorted(names))))
        return weights([(1, 1)] * batches, window)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def weights(sizes: Sequence[Size], window: int) -> dict[int, float]:
    """How much more than 1/window each batch of an epoch counts, where that isn't just once."""
    found = {}
    for start in range(0, len(sizes), window):
        these = sizes[start : start + window]
        total = sum(mean for _, mean in these)
        for batch, (own, _) in enumerate(these, start):
            if total and (factor := window * own / total) != 1:
                found[batch] = factor
    return found


def sizes_of(loaders: Sequence[Any]) -> list[Size] | None:
    """The samples of each batch of the epoch; None where that can't be told.

    Several loaders give a batch together: alike in size, or each with batches of one size only,
    which are then counted.
    """
    known = [each.batch_sizes() if isinstance(each, DataLoader) else None for each in loaders]
    sizes = [each for each in known if each is not None]
    if len(sizes) != len(loaders) or not sizes:
        return None
    if all(each == sizes[0] for each in sizes):
        return sizes[0]
    return [(1, 1)] * max(map(len, sizes)) if all(len(set(s)) == 1 for s in sizes) else None
