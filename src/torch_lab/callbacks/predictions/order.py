"""Which samples a batch of predictions is of: Lightning keeps that in the loaders it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import BatchSampler, DistributedSampler, IterableDataset, SequentialSampler

from torch_lab.data import DataLoader


def loaders_of(trainer: pl.Trainer) -> list[Any]:
    """The loaders of a prediction under way, by their number."""
    return list(_flat(trainer.predict_dataloaders))


def _flat(loaders: Any) -> Iterator[Any]:
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, (list, tuple)):
        for each in loaders:
            yield from _flat(each)
    else:
        yield loaders


def comes_in_order(loader: Any) -> bool:
    """Whether one process alone gets the samples in the dataset's order, or in the only one known.

    Lightning puts every DataLoader's batch sampler into one that remembers the indices it gave.
    """
    wrapped = getattr(_rememberer(loader), "_batch_sampler", None)
    if wrapped is None:
        return not _has_indices(loader) or _item(loader, 0, 0, 1) is not None
    return type(wrapped) is BatchSampler and isinstance(wrapped.sampler, SequentialSampler)


def indices_of(loader: Any, batch: int, rank: int, world: int) -> Sequence[int] | int | None:
    """The samples of this process's batch of that number; those of earlier ones are forgotten.

    An int is the index of an item that is a batch by itself; None: nobody knows.
    """
    if not _has_indices(loader):
        return None
    rememberer = _rememberer(loader)
    if rememberer is None:
        return _item(loader, batch, rank, world)
    given: list[Sequence[int]] = rememberer.seen_batch_indices
    position = batch
    if _shares_batches(loader, rememberer):
        position = (rank + batch * world) % max(len(given), rank + 1)
    # Lightning would keep the index of every sample.
    for earlier in range(max(0, position - world), position):
        given[earlier] = ()
    return given[position]


def _shares_batches(loader: Any, order: Any) -> bool:
    """Whether all batches are drawn by each process, which takes its share of them."""
    return isinstance(loader, DataLoader) and not isinstance(order.sampler, DistributedSampler)


def _item(loader: Any, number: int, rank: int, world: int) -> int | None:
    """The index of an item that the loader doesn't put into a batch."""
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, DistributedSampler) and not sampler.shuffle:
        return (number * sampler.num_replicas + sampler.rank) % len(loader.dataset)
    if not isinstance(sampler, SequentialSampler):
        return None
    return number * world + rank if isinstance(loader, DataLoader) else number


def _rememberer(loader: Any) -> Any:
    sampler = getattr(loader, "batch_sampler", None)
    return sampler if hasattr(sampler, "_batch_sampler") else None


def _has_indices(loader: Any) -> bool:
    dataset = getattr(loader, "dataset", None)
    return dataset is not None and not isinstance(dataset, IterableDataset)
