"""LearningRateFinder and BatchSizeFinder: what they try out is no part of the run.

A search trains for a while with loops, callbacks and loggers exchanged, and puts module and
optimizers back afterwards. What it leaves changed beside them is put back here; what it finds is
kept in the checkpoints, so that a run that goes on doesn't search again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.utilities.parsing import (
    lightning_getattr,
    lightning_hasattr,
    lightning_setattr,
)

from torch_lab.engine import lightning
from torch_lab.errors import ConfigurationError
from torch_lab.modules import TrainLabModule

_RATES = ("lr", "learning_rate")
_LITTER = (".lr_find_*.ckpt", ".scale_batch_size_*.ckpt")


class Run(Protocol):
    """The run that a search interrupts."""

    def resuming(self) -> bool:
        """Whether it goes on from a checkpoint, which has what was found."""

    def searching(self) -> AbstractContextManager[None]:
        """Nothing that happens inside belongs to the run."""

    def found(self, name: str, value: Any, before: Any) -> None:
        """Keep what a search has found in place of `before`."""


def sweep(directory: Path) -> None:
    """Remove what a search left that was killed."""
    for pattern in _LITTER:
        for path in directory.glob(pattern):
            path.unlink(missing_ok=True)


def tame(callback: pl.Callback, run: Run) -> None:
    """Let a finder search apart from the run; other callbacks stay as they are."""
    finder = lightning.finder_of(callback)
    if finder is None or finder.method in vars(callback):
        return
    search = getattr(callback, finder.method)

    def apart(trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not run.resuming():
            with _clear_errors(callback, module):
                _search(search, finder, run, trainer, module)

    setattr(callback, finder.method, apart)


def _search(
    search: Callable[..., None],
    finder: lightning.Finder,
    run: Run,
    trainer: pl.Trainer,
    module: pl.LightningModule,
) -> None:
    name = finder.attribute or _rate_of(module, trainer)
    before = _value(module, name)
    with run.searching(), lightning.search_bar_on_terminals_only():
        search(trainer, module)
        value = _value(module, name)
    if finder.updates and value is not None:
        lightning_setattr(module, name, value)
        run.found(name, value, before)


def _value(module: pl.LightningModule, name: str) -> Any:
    return lightning_getattr(module, name) if lightning_hasattr(module, name) else None


def _rate_of(module: pl.LightningModule, trainer: pl.Trainer) -> str:
    """The attribute for the learning rate, which a TrainLabModule is given for the occasion."""
    name = next((each for each in _RATES if lightning_hasattr(module, each)), None)
    if name is None and isinstance(module, TrainLabModule) and trainer.optimizers:
        name = _RATES[0]
        setattr(module, name, trainer.optimizers[0].param_groups[0]["lr"])
    return name or _RATES[0]


@contextmanager
def _clear_errors(callback: pl.Callback, module: pl.LightningModule) -> Iterator[None]:
    try:
        yield
    except AttributeError as error:
        if "learning rate finder" not in str(error) and "attribute name for" not in str(error):
            raise
        raise ConfigurationError(
            f"{type(callback).__name__}: {type(module).__name__} has no attribute"
            f" {' or '.join(_RATES)} to put the learning rate into",
            hint="Set self.lr in the module and use it in configure_optimizers, or name the"
            " attribute: LearningRateFinder(attr_name=…).",
        ) from None


def put_back(module: pl.LightningModule, found: dict[str, Any]) -> None:
    """Give a module, or its datamodule, what a search had found before the run was cut."""
    for name, value in found.items():
        if lightning_hasattr(module, name):
            lightning_setattr(module, name, value)
