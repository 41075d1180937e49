"""Loaders that give their first batch only, cut to two samples where they let that be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import IterableDataset

from torch_lab.data import DataLoader
from torch_lab.tasks.check.subject import Source, Stage

NAMES: dict[Stage, str] = {
    "train": "train_dataloaders",
    "validate": "val_dataloaders",
    "test": "test_dataloaders",
}  # those of train_config


class Cut:
    """Stands in for a loader: says to be as long, and gives one small batch, always the same."""

    def __init__(self, source: Source, loading: Callable[[Source], None]) -> None:
        self._source = source
        self._loading = loading  # told when a batch is about to be made

    def __len__(self) -> int:
        return len(self._source.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_source"].loader, name)

    def __iter__(self) -> Iterator[Any]:
        self._loading(self._source)
        if self._source.batch is None:
            try:
                self._source.batch = first_batch(self._source)
            except StopIteration:  # there is none
                return
        yield self._source.batch


def cut(
    loaders: Any, stage: Stage, name: str, sources: list[Source], loading: Callable[[Source], None]
) -> Any:
    """The loaders, in whatever collection they are, with each one cut and noted in `sources`."""
    if isinstance(loaders, CombinedLoader):
        loaders.flattened = cut(loaders.flattened, stage, name, sources, loading)
        return loaders
    if isinstance(loaders, Mapping):
        return {
            key: cut(each, stage, f"{name}[{key!r}]", sources, loading)
            for key, each in loaders.items()
        }
    if isinstance(loaders, Sequence) and not isinstance(loaders, str):
        alone = len(loaders) == 1
        return [
            cut(each, stage, name if alone else f"{name}[{index}]", sources, loading)
            for index, each in enumerate(loaders)
        ]
    if loaders is None or isinstance(loaders, Cut):  # in a CombinedLoader, by another stage
        return loaders
    known = next((each for each in sources if (each.stage, each.name) == (stage, name)), None)
    if known is None:
        sources.append(known := Source(stage, name, loaders))
    known.loader = loaders  # a hook makes new ones each time that it is called
    return Cut(known, loading)


def first_batch(source: Source) -> Any:
    """The batch to try: cut where that can be done; StopIteration where there is none."""
    loader = source.loader
    if not can_be_cut(loader):
        source.samples = None
        return next(iter(loader))
    try:
        return _made_here(loader, source.samples)
    except StopIteration:
        raise
    except Exception:
        # Any: a dataset may need its workers' preparations. What fails with the loader itself too
        # is told as it came up here, which says more.
        if loader.num_workers:
            with suppress(Exception):
                source.samples = None
                return next(iter(loader))
        raise


def can_be_cut(loader: Any) -> bool:
    """Whether a loader makes its batches as torch's does, from samples that can be had singly."""
    if not isinstance(loader, TorchDataLoader):
        return False
    usual = (TorchDataLoader.__iter__, DataLoader.__iter__)
    return type(loader).__iter__ in usual


def _made_here(loader: Any, samples: int | None) -> Any:
    """The first batch, or the first samples of it, made without workers."""
    dataset = loader.dataset
    if isinstance(dataset, IterableDataset):
        return loader.collate_fn(_begin_of(loader, samples))
    indices = _indices(loader)
    if loader.batch_sampler is None:
        return loader.collate_fn(dataset[indices])
    indices = list(indices)[:samples]
    if callable(many := getattr(dataset, "__getitems__", None)):
        return loader.collate_fn(many(indices))
    return loader.collate_fn([dataset[index] for index in indices])


def _begin_of(loader: Any, samples: int | None) -> Any:
    stream = iter(loader.dataset)
    if loader.batch_size is None:
        return next(stream)
    taken = list(islice(stream, min(samples or loader.batch_size, loader.batch_size)))
    if not taken:
        raise StopIteration
    return taken


def _indices(loader: Any) -> Any:
    """Those of the first batch; of the first sample where each is a batch."""
    if isinstance(loader, DataLoader):
        return next(iter(loader.epoch_batches()))
    return next(iter(loader.sampler if loader.batch_sampler is None else loader.batch_sampler))


def batch_size(loader: Any) -> int | None:
    """How many samples a whole batch has, where the loader tells."""
    size = getattr(loader, "batch_size", None)
    if isinstance(size, int):
        return size
    size = getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    return size if isinstance(size, int) else None
