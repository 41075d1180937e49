"""torch's DataLoader with every batch at an address."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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

from torch_lab.data import deaths, sharing, workers
from torch_lab.data.fetching import AddressedDataset, Key, NumberedDataset, WorkerInit, as_it_is
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
from torch_lab.data.passes import Account, Pass, Token
from torch_lab.data.randomness import ORDER, address_seed, seeded


class _Addresses(Sampler[Key]):
    """The keys of an epoch's batches, from the first one that is still to come."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Key]:
        return self._keys(*self.loader._begins)  # where it began, also when it is asked later

    def _keys(self, epoch: int, first: int) -> Iterator[Key]:
        loader, rank = self.loader, sharing.world()[0]
        batches = loader._coming(first) or loader.epoch_batches()[first:]
        for batch, indices in enumerate(batches, start=first):
            yield Key(address_seed(loader.base_seed, epoch, rank, batch), indices, batch)


class DataLoader(TorchDataLoader[Any]):
    """torch's DataLoader, exactly resumable for map-style datasets.

    Takes the same arguments. `seed` is the run's seed unless given. `state_dict()` is the place
    in the epoch; the iterator that follows `load_state_dict()` begins there. Under
    torch.distributed each process gets its share of every epoch; `pad` repeats a few samples so
    that all shares are equally long, which training needs and evaluation must not have.
    `num_workers` and `pin_memory` left open are chosen by a run on a GPU; elsewhere they are 0 and
    False.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool | None = None,
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
            num_workers or 0,
            collate_fn,
            bool(pin_memory),
            drop_last,
            **kwargs,
        )
        self.seed = seed
        self.pad = pad
        self._open = num_workers is None, pin_memory is None, "persistent_workers" not in kwargs
        self.goes_on = False  # set while Lightning's end isn't that of the loader's workers
        self.none_idle = False  # set for evaluation while training, where ranks wait for each other
        self._batches_given = batch_sampler is not None
        self._position = (0, 0)  # an epoch, and how many of its batches were handed out
        self._begins = (0, 0)  # the same of the pass that begins
        self._account = Account()
        self._followed: weakref.ref[Pass] | None = None
        self._seed_when_built = torch.initial_seed()
        self._kept: TorchDataLoader[Any] | None = None
        self._drawn: tuple[tuple[int, int, int, int], list[Any]] | None = None
        self._whole: list[Any] = []  # all processes' batches, where a user draws those

    def settle(self, *, num_workers: int, pin_memory: bool) -> None:
        """Take what was left open; an iterable dataset's workers would each give all of it."""
        workers, pinned, persistent = self._open
        if pinned:
            self.pin_memory = pin_memory
        if workers and self.exact:
            self.num_workers = num_workers
            if persistent and num_workers:  # torch forbids what changes an iteration under way
                object.__setattr__(self, "persistent_workers", True)

    def _order(self, dataset: Any, sampler: Any, shuffle: bool | None) -> Any:
        """The sampler in a form that tells this loader's clock of Lightning's set_epoch."""
        if shuffle and sampler is not None:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if isinstance(sampler, DistributedSampler):  # has an epoch and a share of its own
            return sampler
        if (shuffle and sampler is None) or shuffles_plainly(sampler):
            return Shuffled(dataset, self._clock)
        if sampler is None or type(sampler) in (SequentialSampler, InOrder):
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

    def fetch(self, batch: int) -> Any:
        """A batch of this epoch loaded here and now, as it was or will be handed out."""
        address = address_seed(self.base_seed, self.epoch, sharing.world()[0], batch)
        data = AddressedDataset(self.dataset, self.collate_fn, self._auto_collation)
        return data[Key(address, self.epoch_batches()[batch])]

    def batch_sizes(self) -> list[tuple[int, float]] | None:
        """The samples in each of `epoch_batches()`, and their mean over all processes.

        None where a batch is one item of the dataset, or a dataset is iterable.
        """
        if not self.exact or not self._auto_collation:
            return None
        own = [len(batch) for batch in self.epoch_batches()]
        _, world = sharing.world()
        if world == 1 or not self._batches_given or self._shared_out:
            return [(size, size) for size in own]  # shares of samples are equally long
        shares = [sharing.share(self._whole, each, world, self.pad) for each in range(world)]
        means = (sum(map(len, batches)) / world for batches in zip(*shares, strict=False))
        return list(zip(own, means, strict=False))

    def _draw_order(self) -> list[Any]:
        order = self._epoch_order
        if isinstance(order, Order):
            drawn = order.draw(self.epoch, self._order_seed)
            if order.differs:
                self._note("its data came in another order after the cut than before")
            return drawn
        with seeded(self._order_seed(self.epoch)):
            return list(order)

    def _order_seed(self, epoch: int) -> int:
        return address_seed(self.base_seed, epoch, ORDER)

    def _coming(self, first: int) -> Iterable[Any] | None:
        """The batches of a prediction in order, as they come: a list would grow with the data."""
        batches: Any = self.batch_sampler
        if not is_lightnings(batches) or not isinstance(batches.sampler, SequentialSampler):
            return None
        rank, world = sharing.world()
        return None if first else islice(batches, rank, None, world)

    def _draw(self, rank: int, world: int) -> list[Any]:
        drawn = self._draw_order()
        self._whole = drawn if self._batches_given else []
        if not self._shared_out:
            drawn = sharing.share(drawn, rank, world, self.pad, self.none_idle)
        if self._batches_given or self.batch_size is None:
            return drawn
        size = self.batch_size
        stop = len(drawn) - len(drawn) % size if self.drop_last else len(drawn)
        return [drawn[start : start + size] for start in range(0, stop, size)]

    def __len__(self) -> int:
        rank, world = sharing.world()
        if not self.exact or world == 1 or self._shared_out:
            return super().__len__()
        length = len(self._epoch_order)
        share = sharing.share_length(length, rank, world, self.pad, self.none_idle)
        if self._batches_given or self.batch_size is None:
            return share
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def __iter__(self) -> Any:
        if not self.exact:
            return deaths.told(super().__iter__()) if self.num_workers else super().__iter__()
        token = Token()
        return Pass(token, self._iterate(token))

    def _iterate(self, token: Token) -> Generator[Any, None, None]:
        # A generator on purpose: Lightning asks for the iterator before it sets the epoch, and
        # nothing may be drawn until the first batch is asked for.
        if not self._counts(token):
            yield from (batch for _, batch in self._numbered((self.epoch, 0)))
            return
        self.account()  # of another epoch than before, perhaps
        if self._clock.passed:
            self._start_over()
        epoch, first = self.epoch, self._first_batch()
        self._position = (epoch, first)
        self._clock.begin()
        due = first
        for number, batch in self._numbered(self._position):
            if number != due:
                self._note(f"batch {number} came where batch {due} was due")
            due = number + 1
            if self._counts(token):
                self._position = (epoch, due)
            yield batch
        if self._counts(token):
            self._clock.passed, self._followed = True, None  # the next pass is its successor

    def _numbered(self, place: tuple[int, int]) -> Iterator[tuple[int, Any]]:
        """The batches from a place on, with their numbers."""
        self._begins = place
        inner = self._inner()
        batches = iter(inner)
        if inner is self._kept and not self.goes_on:
            self._iterator = inner._iterator  # by this name Lightning ends workers at its end
        return deaths.told(batches) if self.num_workers else batches

    # -- what was handed out -----------------------------------------------------------------

    def follow(self, iterator: Any) -> None:
        """Let this iteration tell the place in the data, and others leave it alone.

        Hooks look at the data while it is trained on: `next(iter(trainer.train_dataloader))`.
        """
        if isinstance(iterator, Pass):
            self._followed = weakref.ref(iterator)

    def _counts(self, token: Token) -> bool:
        """Whether a pass tells the place: any does while none that is followed is under way."""
        followed = None if self._followed is None else self._followed()
        return followed is None or followed.token is token

    def _start_over(self) -> None:
        """Begin the next epoch without being told of it, as beside longer loaders."""
        account = self.account()
        batches, samples = account.batches + self._in_pass(), account.samples + self._samples()
        self._clock.start_over()
        account.batches, account.samples = batches, samples

    def account(self) -> Account:
        """What was handed out in earlier passes of the epoch that was told last."""
        if self._account.beginning != (beginning := self._beginning):
            self._account, self._position = Account(beginning), (self.epoch, 0)
        return self._account

    @property
    def _beginning(self) -> tuple[int, int]:
        own = self.sampler
        told = own.epoch if isinstance(own, DistributedSampler) else 0  # not through the clock
        return self._clock.beginnings, told

    def handed_out(self) -> int:
        """How many batches, since the epoch was told."""
        return self.account().batches + self._in_pass()

    def samples_handed_out(self) -> int:
        """How many samples, as the sampler drew them, since the epoch was told."""
        return self.account().samples + self._samples()

    def samples_of(self, batches: int) -> int:
        """How many samples the first batches of this epoch hold."""
        first = self.epoch_batches()[:batches]
        if self._batches_given or not self._auto_collation:
            return sum(map(self._size, first))
        return sum(map(len, first[-1:])) + max(len(first) - 1, 0) * (self.batch_size or 1)

    def _in_pass(self) -> int:
        epoch, batch = self._position
        return batch if epoch == self.epoch else 0

    def _samples(self) -> int:
        done = self._in_pass()
        return self.samples_of(done) if done else 0

    def _size(self, batch: Any) -> int:
        return len(batch) if self._auto_collation else 1

    def _note(self, fault: str) -> None:
        """Keep for the run's ledger what was wrong with the epoch's data."""
        self.account().faults.append(fault)

    # -- the inner loader --------------------------------------------------------------------

    def _first_batch(self) -> int:
        epoch, batch = self._position
        return batch if self._clock.resumed and epoch == self.epoch else 0

    def _inner(self) -> TorchDataLoader[Any]:
        """A plain torch loader over addressed batches; kept where its workers are to persist."""
        if self._kept is not None and not getattr(self._kept._iterator, "_shutdown", False):
            return self._kept
        inner = TorchDataLoader(
            NumberedDataset(self.dataset, self.collate_fn, self._auto_collation),
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
        workers.look_after(inner)
        if self.persistent_workers:
            self._kept = inner
        return inner

    def state_dict(self) -> dict[str, Any]:
        """The place in the data: an epoch, and how many of its batches have been handed out.

        `told` is the epoch that `set_epoch` said last, where this loader has started over since,
        `earlier` the batches and samples handed out before that; `samples` how many there are;
        `order` what a sampler of the user's needs to go on.
        """
        if not self.exact:
            return {}
        state = self._place() | self._count()
        order = self._epoch_order
        kept = order.state_dict() if isinstance(order, Order) else {}
        return state | {"order": kept} if kept else state

    def _place(self) -> dict[str, Any]:
        told, account = self._clock.told, self.account()
        if self._clock.passed and told is None:
            return {"epoch": self.epoch + 1, "batch": 0}
        epoch, batch = self._position
        place = {"epoch": self.epoch, "batch": batch if epoch == self.epoch else 0}
        if told in (None, self.epoch):
            return place
        return place | {"told": told, "earlier": [account.batches, account.samples]}

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
        before, changed = state.get("samples", now.get("samples")), False
        if before != now.get("samples"):
            changed = True
            warnings.warn(_CHANGED.format(before, now.get("samples")), stacklevel=2)
        self.set_epoch(state["epoch"])
        self._clock.resume(state["epoch"], state.get("told", state["epoch"]))
        self._position = (state["epoch"], state["batch"])
        batches, samples = state.get("earlier", (0, 0))
        self._account = Account(self._beginning, batches, samples)
        if changed and state["batch"]:
            self._note(f"its data had {before} samples before the cut, {now.get('samples')} after")
        if isinstance(order := self._epoch_order, Order):
            order.load_state_dict(state.get("order", {}))


_CHANGED = (
    "the data had {} samples when the run was cut and has {} now: training goes on, but not as"
    " the run that was never cut"
)
