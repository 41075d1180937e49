"""torch's DataLoader with every batch at an address."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import (
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    SequentialSampler,
)

from torch_lab.data import sharing
from torch_lab.data.fetching import AddressedDataset, Key, WorkerInit, as_it_is
from torch_lab.data.order import (
    Batches,
    Clock,
    InOrder,
    Order,
    Shuffled,
    is_lightnings,
    shuffles_plainly,
    unwrapped,
    with_inner,
)
from torch_lab.data.randomness import ORDER, address_seed, seeded


class _Addresses(Sampler[Key]):
    """The keys of an epoch's batches, from the first one that is still to come."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Key]:
        loader, rank = self.loader, sharing.world()[0]
        seed, (epoch, first) = loader.base_seed, loader._position
        batches = loader._coming() or loader.epoch_batches()[first:]
        for batch, indices in enumerate(batches, start=first):
            yield Key(address_seed(seed, epoch, rank, batch), indices)


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
        self._clock = Clock()
        if not isinstance(dataset, IterableDataset):
            if batch_sampler is None:
                sampler, shuffle = self._order(dataset, sampler, shuffle), None
            elif not is_lightnings(batch_sampler):
                batch_sampler = Batches(unwrapped(batch_sampler), self._clock)
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
        self._seed_when_built = torch.initial_seed()
        self._kept: TorchDataLoader[Any] | None = None
        self._drawn: tuple[tuple[int, int, int, int], list[Any]] | None = None

    def _order(self, dataset: Any, sampler: Any, shuffle: bool | None) -> Any:
        """The sampler in a form that tells this loader's clock of Lightning's set_epoch."""
        if shuffle and sampler is not None:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if isinstance(sampler, DistributedSampler):  # has an epoch and a share of its own
            return sampler
        if (shuffle and sampler is None) or shuffles_plainly(sampler):
            return Shuffled(dataset, self._clock)
        if sampler is None or isinstance(sampler, SequentialSampler):
            return InOrder(dataset, self._clock)
        return Order(unwrapped(sampler), self._clock)

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
        if isinstance(self.batch_sampler, Batches):
            return self.batch_sampler.sampler
        return self.batch_sampler if self._batches_given else self.sampler

    @property
    def _shared_out(self) -> bool:
        """Whether the sampler gives each process its share by itself."""
        order = self._epoch_order
        return any(isinstance(each, DistributedSampler) for each in with_inner(order))

    def epoch_batches(self) -> list[Any]:
        """The indices of every batch of this epoch that fall to this process."""
        rank, world = sharing.world()
        key = (self.base_seed, self.epoch, rank, world)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = key, self._draw(rank, world)
        return self._drawn[1]

    def _draw_order(self) -> list[Any]:
        order = self._epoch_order
        if isinstance(order, Order):
            return order.draw(self.epoch, self._order_seed)
        with seeded(self._order_seed(self.epoch)):
            return list(order)

    def _order_seed(self, epoch: int) -> int:
        return address_seed(self.base_seed, epoch, ORDER)

    def _coming(self) -> Iterable[Any] | None:
        """The batches of a prediction in order, as they come: a list would grow with the data."""
        batches: Any = self.batch_sampler
        if not is_lightnings(batches) or not isinstance(batches.sampler, SequentialSampler):
            return None
        rank, world = sharing.world()
        return None if self._position[1] else islice(batches, rank, None, world)

    def _draw(self, rank: int, world: int) -> list[Any]:
        drawn = self._draw_order()
        if not self._shared_out:
            drawn = sharing.share(drawn, rank, world, self.pad)
        if self._batches_given or self.batch_size is None:
            return drawn
        size = self.batch_size
        stop = len(drawn) - len(drawn) % size if self.drop_last else len(drawn)
        return [drawn[start : start + size] for start in range(0, stop, size)]

    def __len__(self) -> int:
        rank, world = sharing.world()
        if not self.exact or world == 1 or self._shared_out:
            return super().__len__()
        share = sharing.share_length(len(self._epoch_order), rank, world, self.pad)
        if self._batches_given or self.batch_size is None:
            return share
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def __iter__(self) -> Any:
        return self._iterate() if self.exact else super().__iter__()

    def _iterate(self) -> Iterator[Any]:
        # A generator on purpose: Lightning asks for the iterator before it sets the epoch, and
        # nothing may be drawn until the first batch is asked for.
        if self._clock.passed:
            self._clock.start_over()
        epoch, first = self.epoch, self._first_batch()
        self._position, self._clock.resumed = (epoch, first), False
        for handed_out, batch in enumerate(self._inner(), start=first + 1):
            self._position = (epoch, handed_out)
            yield batch
        self._clock.passed = True

    def _first_batch(self) -> int:
        epoch, batch = self._position
        return batch if self._clock.resumed and epoch == self.epoch else 0

    def _inner(self) -> TorchDataLoader[Any]:
        """A plain torch loader over addressed batches; kept where its workers are to persist."""
        if self._kept is not None:
            return self._kept
        inner = TorchDataLoader(
            AddressedDataset(self.dataset, self.collate_fn, self._auto_collation),
            batch_size=None,
            sampler=_Addresses(self),
            num_workers=self.num_workers,
            collate_fn=as_it_is,
            pin_memory=self.pin_memory,
            timeout=self.timeout,
            worker_init_fn=WorkerInit(self.worker_init_fn),
            multiprocessing_context=self.multiprocessing_context,
            generator=torch.Generator().manual_seed(address_seed(self.base_seed)),
            prefetch_factor=self.prefetch_factor,
            persistent_workers=self.persistent_workers,
            in_order=self.in_order,
        )
        if self.persistent_workers:
            self._kept = inner
        return inner

    def state_dict(self) -> dict[str, Any]:
        """The place in the data: an epoch, and how many of its batches have been handed out.

        `told` is the epoch that `set_epoch` said last, where this loader has started over since;
        `samples` how many there are; `order` what a sampler of the user's needs to go on.
        """
        if not self.exact:
            return {}
        state = self._place() | self._count()
        order = self._epoch_order
        kept = order.state_dict() if isinstance(order, Order) else {}
        return state | {"order": kept} if kept else state

    def _place(self) -> dict[str, Any]:
        told = self._clock.told
        if self._clock.passed and told is None:
            return {"epoch": self.epoch + 1, "batch": 0}
        epoch, batch = self._position
        place = {"epoch": self.epoch, "batch": batch if epoch == self.epoch else 0}
        return place if told in (None, self.epoch) else place | {"told": told}

    def _count(self) -> dict[str, int]:
        try:
            return {"samples": len(self.dataset)}  # type: ignore[arg-type]
        except TypeError:  # a batch sampler makes a dataset's length unnecessary
            return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin at the place `state`."""
        if not self.exact or not state:
            return
        now = self._count()
        if state.get("samples", now.get("samples")) != now.get("samples"):
            warnings.warn(_CHANGED.format(state["samples"], now.get("samples")), stacklevel=2)
        self.set_epoch(state["epoch"])
        self._clock.resume(state["epoch"], state.get("told", state["epoch"]))
        self._position = (state["epoch"], state["batch"])
        if isinstance(order := self._epoch_order, Order):
            order.load_state_dict(state.get("order", {}))


_CHANGED = (
    "the data had {} samples when the run was cut and has {} now: training goes on, but not as"
    " the run that was never cut"
)
