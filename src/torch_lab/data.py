"""A DataLoader that goes on exactly where it was cut off.

Randomness has an address: the order of an epoch follows from (seed, epoch), and what fetching,
transforming and collating a batch draw from Python, numpy and torch follows from (seed, epoch,
rank, batch). Neither depends on the number of workers or on how often training was restarted.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
import torch.distributed
from torch.utils.data import (
    BatchSampler,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    get_worker_info,
)
from torch.utils.data import DataLoader as TorchDataLoader

_T = TypeVar("_T")
_MASK = (1 << 64) - 1
_ORDER = -1  # stands in the address where a batch number would: the draw of an epoch's order


def address_seed(*address: int) -> int:
    """A 64-bit seed mixed from integers, the same in every process and Python version."""
    state = 0x9E3779B97F4A7C15
    for part in address:
        state = ((state ^ (part & _MASK)) * 0xBF58476D1CE4E5B9) & _MASK
        state ^= state >> 27
        state = (state * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed also visits every accelerator


_own_bits: np.random.MT19937 | None = None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, numpy's and torch's generators begin at `seed` inside and are as before after."""
    global _own_bits
    python, bits = random.getstate(), np.random.get_bit_generator()  # type: ignore[attr-defined]
    own = torch.get_rng_state()
    # Swapping numpy's bit generator is a pointer; copying its state takes 50 microseconds. A
    # nested use must not share the spare one.
    spare, _own_bits = _own_bits, None
    spare = spare or np.random.MT19937()
    try:
        np.random.set_bit_generator(spare)  # type: ignore[attr-defined]
        _seed_everything(seed)
        yield
    finally:
        np.random.set_bit_generator(bits)  # type: ignore[attr-defined]
        _own_bits = spare
        random.setstate(python)
        torch.set_rng_state(own)


class _Key(NamedTuple):
    """What a sampler hands to the dataset for one batch."""

    seed: int
    indices: Any


class _AddressedDataset(Dataset[Any]):
    """Fetches and collates a batch with every random draw determined by the batch's address."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[Any], Any], batched: bool) -> None:
        self.dataset = dataset
        self.collate = collate
        self.batched = batched

    def __getitem__(self, key: _Key) -> Any:
        if get_worker_info() is not None:  # a worker's generators belong to the data alone
            _seed_everything(key.seed)
            return self._load(key.indices)
        with seeded(key.seed):
            return self._load(key.indices)

    def _load(self, indices: Any) -> Any:
        dataset = self.dataset
        if not self.batched:
            return self.collate(dataset[indices])
        if hasattr(dataset, "__getitems__") and dataset.__getitems__:
            return self.collate(dataset.__getitems__(indices))
        return self.collate([dataset[index] for index in indices])


class _Clock:
    """The epoch a loader is in; shared with its sampler, where Lightning sets it."""

    def __init__(self) -> None:
        self.epoch = 0
        self.passed = False  # the epoch was iterated to its end

    def set(self, epoch: int) -> None:
        self.epoch, self.passed = epoch, False


class _Order(Sampler[Any]):
    """A sampler whose order in an epoch is a function of (seed, epoch), whatever it wraps."""

    def __init__(self, sampler: Iterable[Any], clock: _Clock) -> None:
        self.wrapped = sampler
        self.clock = clock

    def set_epoch(self, epoch: int) -> None:
        self.clock.set(epoch)
        for each in _with_inner(self.wrapped):
            if callable(tell := getattr(each, "set_epoch", None)):
                tell(epoch)

    def reseed(self, seed: int) -> None:
        """Samplers that were given a generator of their own draw from the address too."""
        for each in _with_inner(self.wrapped):
            if isinstance(generator := getattr(each, "generator", None), torch.Generator):
                generator.manual_seed(seed)

    def __len__(self) -> int:
        return len(cast(Sized, self.wrapped))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.wrapped)


def _lightnings(batch_sampler: Any) -> bool:
    """Whether Lightning put it there, to tell prediction writers which samples a batch holds."""
    return type(batch_sampler).__name__ == "_IndexBatchSamplerWrapper"


def _unwrapped(sampler: Any) -> Any:
    """What a sampler of ours wraps, when Lightning builds a loader again from its parts."""
    return sampler.wrapped if isinstance(sampler, (_Order, _Batches)) else sampler


def _with_inner(sampler: Any) -> tuple[Any, Any]:
    return sampler, getattr(sampler, "sampler", None)


class _Batches(BatchSampler):
    """The user's own batch sampler, with the epoch reachable where Lightning looks for it."""

    def __init__(self, batch_sampler: Any, clock: _Clock) -> None:
        self.wrapped = batch_sampler
        self.sampler = _Order(batch_sampler, clock)
        self.batch_size = getattr(batch_sampler, "batch_size", None)  # type: ignore[assignment]
        self.drop_last = getattr(batch_sampler, "drop_last", False)

    def __len__(self) -> int:
        return len(self.wrapped)

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.wrapped)


class _Addresses(Sampler[_Key]):
    """The keys of an epoch's batches, from the first one that is still to come."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[_Key]:
        loader, rank = self.loader, _world()[0]
        seed, (epoch, first) = loader.base_seed, loader._position
        for batch, indices in enumerate(loader.epoch_batches()[first:], start=first):
            yield _Key(address_seed(seed, epoch, rank, batch), indices)


class _WorkerInit:
    """Keeps signals meant for the training process from killing its workers first."""

    def __init__(self, then: Callable[[int], None] | None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        # The parent ends its workers itself; one that is stuck dies ten seconds after being told.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(10))
        if self.then is not None:
            self.then(worker)


def _as_it_is(batch: Any) -> Any:
    return batch


class DataLoader(TorchDataLoader[Any]):
    """torch's DataLoader, exactly resumable for map-style datasets.

    Takes the same arguments. `seed` is the run's seed unless given. `state_dict()` is the place
    in the epoch; the iterator that follows `load_state_dict()` begins there. Under
    torch.distributed each process gets its share of every epoch; `pad` repeats a few samples so
    that all shares are equally long, which training needs and evaluation must not have.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        *,
        seed: int | None = None,
        pad: bool = True,
        **kwargs: Any,
    ) -> None:
        self._clock = _Clock()
        if not isinstance(dataset, IterableDataset):
            if batch_sampler is None:
                sampler, shuffle = self._order(dataset, sampler, shuffle), None
            elif not _lightnings(batch_sampler):
                batch_sampler = _Batches(_unwrapped(batch_sampler), self._clock)
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            collate_fn,
            pin_memory,
            drop_last,
            **kwargs,
        )
        self.seed = seed
        self.pad = pad
        self._batches_given = batch_sampler is not None
        self._position = (0, 0)  # an epoch, and how many of its batches were handed out
        self._resuming = False
        self._seed_when_built = torch.initial_seed()
        self._kept: TorchDataLoader[Any] | None = None
        self._drawn: tuple[tuple[int, int, int, int], list[Any]] | None = None

    def _order(self, dataset: Any, sampler: Any, shuffle: bool | None) -> Any:
        """The sampler in a form that tells this loader's clock of Lightning's set_epoch."""
        if shuffle and sampler is not None:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if isinstance(sampler, DistributedSampler):  # has an epoch and a share of its own
            return sampler
        if (shuffle and sampler is None) or _shuffles_plainly(sampler):
            return _Shuffled(dataset, self._clock)
        if sampler is None or isinstance(sampler, SequentialSampler):
            return _InOrder(dataset, self._clock)
        return _Order(_unwrapped(sampler), self._clock)

    @property
    def exact(self) -> bool:
        """Whether a cut iteration can go on exactly: the dataset has indices."""
        return not isinstance(self.dataset, IterableDataset)

    @property
    def base_seed(self) -> int:
        """`seed`, or torch's initial seed when this loader was built."""
        return self._seed_when_built if self.seed is None else self.seed

    @property
    def epoch(self) -> int:
        """The epoch whose order and draws the current or next iteration has."""
        if isinstance(self.sampler, DistributedSampler):
            return self.sampler.epoch
        return self._clock.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; without it each full pass goes on to the next one."""
        self._clock.set(epoch)
        if callable(tell := getattr(self._epoch_order, "set_epoch", None)):
            tell(epoch)

    @property
    def _epoch_order(self) -> Any:
        """What is drawn once an epoch: samples, or whole batches where the user draws those."""
        if isinstance(self.batch_sampler, _Batches):
            return self.batch_sampler.sampler
        return self.batch_sampler if self._batches_given else self.sampler

    @property
    def _shared_out(self) -> bool:
        """Whether the sampler gives each process its share by itself."""
        order = self._epoch_order
        return any(isinstance(each, DistributedSampler) for each in _with_inner(order))

    def epoch_batches(self) -> list[Any]:
        """The indices of every batch of this epoch that fall to this process."""
        rank, world = _world()
        key = (self.base_seed, self.epoch, rank, world)
        if self._drawn is None or self._drawn[0] != key:
            seed = address_seed(self.base_seed, self.epoch, _ORDER)
            with seeded(seed):
                self._drawn = key, self._draw(seed, rank, world)
        return self._drawn[1]

    def _draw(self, seed: int, rank: int, world: int) -> list[Any]:
        order = self._epoch_order
        if isinstance(order, _Order):
            order.reseed(seed)
        drawn = list(order)
        if not self._shared_out:
            drawn = _share(drawn, rank, world, self.pad)
        if self._batches_given or self.batch_size is None:
            return drawn
        size = self.batch_size
        stop = len(drawn) - len(drawn) % size if self.drop_last else len(drawn)
        return [drawn[start : start + size] for start in range(0, stop, size)]

    def __len__(self) -> int:
        rank, world = _world()
        if not self.exact or world == 1 or self._shared_out:
            return super().__len__()
        share = _share_length(len(self._epoch_order), rank, world, self.pad)
        if self._batches_given or self.batch_size is None:
            return share
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def __iter__(self) -> Any:
        return self._iterate() if self.exact else super().__iter__()

    def _iterate(self) -> Iterator[Any]:
        # A generator on purpose: Lightning asks for the iterator before it sets the epoch, and
        # nothing may be drawn until the first batch is asked for.
        if self._clock.passed:
            self._clock.set(self._clock.epoch + 1)
        epoch, first = self.epoch, self._first_batch()
        self._position, self._resuming = (epoch, first), False
        for handed_out, batch in enumerate(self._inner(), start=first + 1):
            self._position = (epoch, handed_out)
            yield batch
        self._clock.passed = True

    def _first_batch(self) -> int:
        epoch, batch = self._position
        return batch if self._resuming and epoch == self.epoch else 0

    def _inner(self) -> TorchDataLoader[Any]:
        """A plain torch loader over addressed batches; kept where its workers are to persist."""
        if self._kept is not None:
            return self._kept
        inner = TorchDataLoader(
            _AddressedDataset(self.dataset, self.collate_fn, self._auto_collation),
            batch_size=None,
            sampler=_Addresses(self),
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            pin_memory=self.pin_memory,
            timeout=self.timeout,
            worker_init_fn=_WorkerInit(self.worker_init_fn),
            multiprocessing_context=self.multiprocessing_context,
            generator=torch.Generator().manual_seed(address_seed(self.base_seed)),
            prefetch_factor=self.prefetch_factor,
            persistent_workers=self.persistent_workers,
            in_order=self.in_order,
        )
        if self.persistent_workers:
            self._kept = inner
        return inner

    def state_dict(self) -> dict[str, int]:
        """The place in the data: an epoch, and how many of its batches have been handed out."""
        if self._clock.passed:
            return {"epoch": self.epoch + 1, "batch": 0}
        epoch, batch = self._position
        return {"epoch": self.epoch, "batch": batch if epoch == self.epoch else 0}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration begin at the place `state`."""
        self.set_epoch(state["epoch"])
        self._position, self._resuming = (state["epoch"], state["batch"]), True


class _Shuffled(RandomSampler):
    """A RandomSampler to Lightning; the loader draws it under the epoch's address."""

    def __init__(self, dataset: Any, clock: _Clock) -> None:
        super().__init__(dataset)
        self.clock = clock

    def set_epoch(self, epoch: int) -> None:
        self.clock.set(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(self.num_samples).tolist())


class _InOrder(SequentialSampler):
    """A SequentialSampler that hears of the epoch."""

    def __init__(self, dataset: Any, clock: _Clock) -> None:
        super().__init__(dataset)
        self.clock = clock

    def set_epoch(self, epoch: int) -> None:
        self.clock.set(epoch)


def _shuffles_plainly(sampler: Any) -> bool:
    """Whether it draws each sample once, which needs no more than the epoch's address."""
    if not isinstance(sampler, RandomSampler):
        return False
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)


def _world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _share_length(total: int, rank: int, world: int, pad: bool) -> int:
    return -(-total // world) if pad else len(range(rank, total, world))


def _share(items: list[_T], rank: int, world: int, pad: bool) -> list[_T]:
    if world == 1 or not items:
        return items
    if pad:
        missing = -len(items) % world
        items = items + [items[i % len(items)] for i in range(missing)]
    return items[rank::world]


class NotExact(NamedTuple):
    """A loader left as it is, and why a cut epoch can't go on exactly with it."""

    loader: str
    reason: str


def make_exact(loaders: Any, seed: int, *, pad: bool = True) -> tuple[Any, list[NotExact]]:
    """`loaders` with plain torch DataLoaders made resumable, and those where that can't be."""
    if isinstance(loaders, Mapping):
        pairs = {name: make_exact(each, seed, pad=pad) for name, each in loaders.items()}
        found = [reason for _, reasons in pairs.values() for reason in reasons]
        return {name: made for name, (made, _) in pairs.items()}, found
    if isinstance(loaders, Sequence) and not isinstance(loaders, str):
        items = [make_exact(each, seed, pad=pad) for each in loaders]
        return [made for made, _ in items], [reason for _, found in items for reason in found]
    return _make_one_exact(loaders, seed, pad)


def _make_one_exact(loader: Any, seed: int, pad: bool) -> tuple[Any, list[NotExact]]:
    name = f"{type(loader).__module__}.{type(loader).__qualname__}"
    if isinstance(getattr(loader, "dataset", None), IterableDataset):
        return loader, [NotExact(name, "its dataset is iterable: samples have no indices")]
    if isinstance(loader, DataLoader):
        loader.seed = seed if loader.seed is None else loader.seed
        loader.pad = pad
        return loader, []
    if type(loader) is not TorchDataLoader:
        return loader, [NotExact(name, "it is no torch.utils.data.DataLoader itself")]
    own_batches = type(loader.batch_sampler) not in (BatchSampler, type(None))
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
    return DataLoader(loader.dataset, **order, **copied, seed=seed, pad=pad), []


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
