"""Where in training a Trainer is."""

from __future__ import annotations

import pytorch_lightning as pl
from lightning_fabric.utilities.data import _set_sampler_epoch


def batches_done(trainer: pl.Trainer) -> int:
    """How many training batches have been handled, over all epochs."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def logged_step(trainer: pl.Trainer) -> int:
    """The step that Lightning gives its loggers with what is logged now."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def in_mid_epoch(trainer: pl.Trainer) -> bool:
    """Whether an epoch has begun and not ended."""
    progress = trainer.fit_loop.epoch_progress.total
    return progress.ready > progress.completed


def accumulating(trainer: pl.Trainer) -> bool:
    """Whether gradients wait for more batches before the optimizer steps."""
    return in_mid_epoch(trainer) and trainer.fit_loop._should_accumulate()


def tell_epoch(trainer: pl.Trainer) -> None:
    """Let the training loaders know the epoch again; a search at its start counts on from there."""
    combined = trainer.fit_loop._combined_loader
    for loader in combined.flattened if combined is not None else ():
        _set_sampler_epoch(loader, trainer.current_epoch)
