"""People's own loaders made exactly resumable, or why they can't be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import IterableDataset

from torch_lab.data import workers
from torch_lab.data.fetching import WorkerInit
from torch_lab.data.loader import DataLoader

_ANEW = "A run that is cut and resumed begins the epoch's data anew."
_BY_ITSELF = (
    "A run that is cut and resumed restores the place that the loader itself keeps;"
    " what the samples after it draw at random may differ."
)


class NotExact(NamedTuple):
    """A loader left as it is, and why a cut epoch can't go on exactly with it."""

    loader: str
    reason: str
    consequence: str = _ANEW

    def __str__(self) -> str:
        return f"{self.loader} can't go on exactly in mid-epoch: {self.reason}. {self.consequence}"


def make_exact(
    loaders: Any, seed: int, *, pad: bool = True, none_idle: bool = False
) -> tuple[Any, list[NotExact]]:
    """`loaders` with plain torch DataLoaders made resumable, and those where that can't be."""
    how = {"pad": pad, "none_idle": none_idle}
    if isinstance(loaders, Mapping):
        pairs = {name: make_exact(each, seed, **how) for name, each in loaders.items()}
        found = [reason for _, reasons in pairs.values() for reason in reasons]
        return {name: made for name, (made, _) in pairs.items()}, found
    if isinstance(loaders, Sequence) and not isinstance(loaders, str):
        items = [make_exact(each, seed, **how) for each in loaders]
        return [made for made, _ in items], [reason for _, found in items for reason in found]
    return _make_one_exact(loaders, seed, **how)


def _make_one_exact(
    loader: Any, seed: int, pad: bool, none_idle: bool
) -> tuple[Any, list[NotExact]]:
    reason = _reason(loader)
    if reason is None and not isinstance(loader, DataLoader):
        loader = _converted(loader)
    if isinstance(loader, DataLoader):
        loader.seed = seed if loader.seed is None else loader.seed
        loader.pad, loader.none_idle = pad, none_idle
    if reason is None:
        return loader, []
    _look_after(loader)
    return loader, [_not_exact(loader, reason)]


def _look_after(loader: Any) -> None:
    """Have the workers of a loader that stays as it is end as those of the others do."""
    if isinstance(loader, TorchDataLoader) and not isinstance(loader.worker_init_fn, WorkerInit):
        workers.look_after(loader)
        loader.worker_init_fn = WorkerInit(loader.worker_init_fn)


def _not_exact(loader: Any, reason: str) -> NotExact:
    name = f"{type(loader).__module__}.{type(loader).__qualname__}"
    keeps_place = hasattr(loader, "load_state_dict") and not isinstance(loader, DataLoader)
    return NotExact(name, reason, _BY_ITSELF if keeps_place else _ANEW)


def _reason(loader: Any) -> str | None:
    if isinstance(getattr(loader, "dataset", None), IterableDataset):
        return "its dataset is iterable: samples have no indices"
    if not isinstance(loader, TorchDataLoader):
        return "it is no torch.utils.data.DataLoader"
    if changed := _own_ways(type(loader)):
        return f"it has a way of its own to load: {', '.join(changed)}"
    if loader.num_workers > 1 and not getattr(loader, "in_order", True):
        return "with in_order=False batches come as workers finish them"
    return None


def _own_ways(kind: type) -> list[str]:
    """What a subclass of torch's DataLoader does otherwise; to be made otherwise is no matter."""
    if issubclass(kind, DataLoader):
        return []
    own = kind.__mro__[: kind.__mro__.index(TorchDataLoader)]
    names = {name for base in own for name in vars(base) if name in _WAYS}
    return sorted(names)


_WAYS = ("__iter__", "__len__", "_get_iterator", "_index_sampler", "_auto_collation")


def _converted(loader: TorchDataLoader[Any]) -> DataLoader:
    own_batches = loader.batch_sampler is not None and loader.batch_size is None
    order: dict[str, Any] = (
        {"batch_sampler": loader.batch_sampler}
        if own_batches
        else {
            "sampler": loader.sampler,
            "batch_size": loader.batch_size,
            "drop_last": loader.drop_last,
        }
    )
    copied = {name: getattr(loader, name) for name in _COPIED if hasattr(loader, name)}
    made = DataLoader(loader.dataset, **order, **copied)
    for name in vars(loader).keys() - vars(made).keys():  # what a subclass added
        setattr(made, name, getattr(loader, name))
    return made


_COPIED = (
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
    "in_order",
)
