"""Lightning's searches for a learning rate or a batch size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BatchSizeFinder, LearningRateFinder
from pytorch_lightning.tuner import lr_finder


@dataclass(frozen=True)
class Finder:
    """A callback that searches: by which method, and where it puts what it finds."""

    method: str
    attribute: str  # empty: of a module's usual names for the learning rate
    updates: bool = True


def finder_of(callback: pl.Callback) -> Finder | None:
    """What kind of finder a callback is, if it is one."""
    if isinstance(callback, LearningRateFinder):
        return Finder("lr_find", callback._attr_name, callback._update_attr)
    if isinstance(callback, BatchSizeFinder):
        return Finder("scale_batch_size", callback._batch_arg_name)
    return None


@contextmanager
def search_bar_on_terminals_only() -> Iterator[None]:
    """A search for the learning rate draws a bar of its own, into pipes and files as well."""
    module: Any = lr_finder
    before = module.tqdm
    module.tqdm = partial(before, disable=None)
    try:
        yield
    finally:
        module.tqdm = before
