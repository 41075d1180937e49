"""The order of an epoch: samplers that hear of the epoch, and people's own made to follow it."""

from __future__ import annotations

import copy
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, cast

import torch
from torch.utils.data import BatchSampler, RandomSampler, Sampler, SequentialSampler

from torch_lab.data.randomness import own_generators, reseed, seeded


class Clock:
    """The epoch a loader is in; shared with its sampler, where Lightning sets it.

    A loader that is shorter than others beside it starts over within an epoch of Lightning's: then
    its own epoch is later than the one it was told.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.told: int | None = None
        self.beginnings = 0  # how often an epoch was told, to be begun with
        self.passed = False  # the epoch was iterated to its end
        self._awaits = True  # to be told the epoch, since it was made or a state was loaded
        self._begun_early = False
        self.resumed = False  # the next iteration begins where a state was taken

    def set(self, epoch: int) -> None:
        """Be told an epoch."""
        due = self.epoch if self.told is None else self.told
        early, self._awaits, self._begun_early = self._begun_early, False, False
        if early and epoch == due and not self.passed:  # a batch of it was fetched ahead
            self.told = epoch
        elif not (self.resumed and epoch == self.told):
            self.epoch = self.told = epoch
            self.beginnings += 1
            self.passed = self.resumed = False

    def resume(self, epoch: int, told: int | None) -> None:
        """Go on in an epoch."""
        self.epoch, self.told = epoch, told
        self.passed, self.resumed, self._awaits = False, True, True

    def begin(self) -> None:
        """A pass begins."""
        self.resumed, self._begun_early = False, self._awaits

    def start_over(self) -> None:
        """Begin the next epoch without being told of it."""
        self.epoch, self.passed = self.epoch + 1, False


class Order(Sampler[Any]):
    """A sampler of the user's, whose order in an epoch follows from (seed, epoch).

    All that it draws has that address. What else it keeps from epoch to epoch, it is asked for
    where it has a state_dict; it follows the epoch where it has set_epoch; and where it has
    neither (a list shuffled in place, a count), a resumed run draws the epochs before again.
    """

    def __init__(self, sampler: Iterable[Any], clock: Clock) -> None:
        self.wrapped = sampler
        self.clock = clock
        self._epochs: list[int] = []  # drawn so far
        self._before: list[Any] = []  # what the sampler kept when the last of them was drawn
        self._check = 0
        self._saved: Mapping[str, Any] | None = None
        self.differs = False  # the order drawn last, from the one before the cut

    def set_epoch(self, epoch: int) -> None:
        """Tell the clock, and samplers that want to know."""
        self.clock.set(epoch)
        for each in _chain(self.wrapped):
            if callable(tell := getattr(each, "set_epoch", None)):
                tell(epoch)

    def __len__(self) -> int:
        return len(cast(Sized, self.wrapped))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.wrapped)

    def draw(self, epoch: int, seed_of: Callable[[int], int]) -> list[Any]:
        """The order of an epoch; after a resume, as if there had been no cut."""
        saved, self._saved = self._saved, None
        self.differs = False
        if saved is None:
            return self._draw(epoch, seed_of)
        again = saved["epochs"][-1] == epoch
        for each in saved["epochs"][: -1 if again else None] if self._remembers() else ():
            self._draw(each, seed_of)
        self._load(saved["before" if again else "now"])
        drawn = self._draw(epoch, seed_of)
        if again:
            self._load(saved["now"])
        if again and self._check != saved["check"]:
            self.differs = True
            warnings.warn(_differs(self.wrapped, epoch), stacklevel=2)
        return drawn

    def _draw(self, epoch: int, seed_of: Callable[[int], int]) -> list[Any]:
        self._epochs = [*self._epochs, epoch] if self._remembers() else [epoch]
        self._before = self._kept()
        seed = seed_of(epoch)
        reseed(own_generators(_chain(self.wrapped)), seed)
        with seeded(seed):
            drawn = list(self.wrapped)
        self._check = 0 if self._all_torchs() else zlib.crc32(repr(drawn).encode())
        return drawn

    def _all_torchs(self) -> bool:
        """Whether the address alone says what it draws."""
        return all(map(_is_torchs, _chain(self.wrapped)))

    def _stateful(self) -> list[Any]:
        return [each for each in _chain(self.wrapped) if hasattr(each, "load_state_dict")]

    def _remembers(self) -> bool:
        """Whether it may keep something from epoch to epoch that nobody can ask it for."""
        return not all(map(_explains_itself, _chain(self.wrapped)))

    def _kept(self) -> list[Any]:
        return [copy.deepcopy(each.state_dict()) for each in self._stateful()]

    def _load(self, states: list[Any]) -> None:
        for each, state in zip(self._stateful(), states, strict=True):
            each.load_state_dict(copy.deepcopy(state))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to draw this epoch, and those that follow, alike."""
        if self._saved is not None:
            return dict(self._saved)
        if not self._epochs or self._all_torchs():
            return {}
        return {
            "epochs": list(self._epochs),
            "before": self._before,
            "now": self._kept(),
            "check": self._check,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next draw be what it was where `state` was taken."""
        self._saved = state or None


def _chain(sampler: Any) -> list[Any]:
    """A sampler and those that it draws from."""
    found: list[Any] = [sampler]
    for each in found:
        inner = [value for value in getattr(each, "__dict__", {}).values() if _samples(value)]
        found += [value for value in inner if not any(value is known for known in found)]
    return found


def _samples(value: object) -> bool:
    return isinstance(value, Sampler)


def _is_torchs(sampler: object) -> bool:
    return type(sampler).__module__.startswith("torch.")


def _explains_itself(sampler: object) -> bool:
    known = (hasattr(sampler, "set_epoch"), hasattr(sampler, "load_state_dict"))
    return any(known) or _is_torchs(sampler) or isinstance(sampler, (list, tuple, range))


def _differs(sampler: object, epoch: int) -> str:
    name = type(sampler).__qualname__
    return (
        f"epoch {epoch} can't go on exactly: {name} draws another order than before the cut."
        f" It keeps something that isn't saved; give {name} state_dict() and load_state_dict()"
    )


class Batches(BatchSampler):
    """The user's own batch sampler, with the epoch reachable where Lightning looks for it."""

    def __init__(self, batch_sampler: Any, clock: Clock) -> None:
        self.wrapped = batch_sampler
        self.sampler = Order(batch_sampler, clock)
        self.batch_size = getattr(batch_sampler, "batch_size", None)  # type: ignore[assignment]
        self.drop_last = getattr(batch_sampler, "drop_last", False)

    def __len__(self) -> int:
        return len(self.wrapped)

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.wrapped)


class Shuffled(RandomSampler):
    """A RandomSampler to Lightning; the loader draws it under the epoch's address."""

    def __init__(self, dataset: Any, clock: Clock) -> None:
        super().__init__(dataset)
        self.clock = clock

    def set_epoch(self, epoch: int) -> None:
        """Tell the clock."""
        self.clock.set(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(self.num_samples).tolist())


class InOrder(SequentialSampler):
    """A SequentialSampler that hears of the epoch."""

    def __init__(self, dataset: Any, clock: Clock) -> None:
        super().__init__(dataset)
        self.clock = clock

    def set_epoch(self, epoch: int) -> None:
        """Tell the clock."""
        self.clock.set(epoch)


def is_lightnings(batch_sampler: Any) -> bool:
    """Whether Lightning put it there, to tell prediction writers which samples a batch holds."""
    return type(batch_sampler).__name__ == "_IndexBatchSamplerWrapper"


def unwrapped(sampler: Any) -> Any:
    """What a sampler of ours wraps, when Lightning builds a loader again from its parts."""
    return sampler.wrapped if isinstance(sampler, (Order, Batches)) else sampler


def with_inner(sampler: Any) -> tuple[Any, Any]:
    """A sampler and the one that it makes batches of."""
    return sampler, getattr(sampler, "sampler", None)


def shuffles_plainly(sampler: Any) -> bool:
    """Whether it draws each sample once, which needs no more than the epoch's address."""
    if type(sampler) not in (RandomSampler, Shuffled):  # a subclass has ways of its own
        return False
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)
