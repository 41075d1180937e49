"""One batch fetched, transformed and collated, with draws that follow from its address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch.utils.data import Dataset, Subset, get_worker_info

from torch_lab.data import workers
from torch_lab.data.randomness import own_generators, reseed, seed_everything, seeded


class Key(NamedTuple):
    """What a sampler hands to the dataset for one batch."""

    seed: int
    indices: Any
    number: int = 0  # which of the epoch's batches it is


class AddressedDataset(Dataset[Any]):
    """Fetches and collates a batch with every random draw determined by the batch's address."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[Any], Any], batched: bool) -> None:
        self.dataset = dataset
        self.collate = collate
        self.batched = batched
        self._generators: list[Any] | None = None

    def __getitem__(self, key: Key) -> Any:
        if self._generators is None:  # here, where a worker has its own copies
            self._generators = own_generators([self.dataset, self.collate])
        reseed(self._generators, key.seed)
        if get_worker_info() is not None:  # a worker's generators belong to the data alone
            seed_everything(key.seed)
            return self._load(key.indices)
        with seeded(key.seed):
            return self._load(key.indices)

    def _load(self, indices: Any) -> Any:
        dataset = self.dataset
        index, doing = indices, "loading"
        try:
            if not self.batched:
                samples = dataset[indices]
            elif hasattr(dataset, "__getitems__") and dataset.__getitems__:
                samples = dataset.__getitems__(indices)
            else:
                samples = [dataset[index := each] for each in indices]
            index, doing = indices, "collating"
            return self.collate(samples)
        except Exception as error:  # any: it is raised again, and now says which sample it was
            error.add_note(f"while {doing} {_samples(dataset, index)}")
            raise


class NumberedDataset(AddressedDataset):
    """Gives each batch together with its number, so that none is lost or doubled unnoticed."""

    def __getitem__(self, key: Key) -> tuple[int, Any]:
        return key.number, super().__getitem__(key)


def _samples(dataset: Any, indices: Any) -> str:
    """Samples in words, under the indices of the dataset that the user's own code knows."""
    while isinstance(dataset, Subset):
        whole = dataset.indices
        one = not isinstance(indices, list)
        indices = whole[indices] if one else [whole[each] for each in indices]
        dataset = dataset.dataset
    several = isinstance(indices, list) and len(indices) != 1
    listed = ", ".join(map(str, indices)) if isinstance(indices, list) else str(indices)
    return f"sample{'s' * several} {listed} of {type(dataset).__name__}"


class WorkerInit:
    """Sets a loader's worker up, beside what the user wants of it."""

    def __init__(self, then: Callable[[int], None] | None) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        """Set a worker up, then as the user wants it."""
        workers.set_up()
        _show_users_dataset()
        if self.then is not None:
            self.then(worker)


def _show_users_dataset() -> None:
    """People's worker_init_fn opens files on `get_worker_info().dataset`: it has to be theirs."""
    info = get_worker_info()
    if info is not None and isinstance(info.dataset, AddressedDataset):
        object.__setattr__(info, "dataset", info.dataset.dataset)


def as_it_is(batch: Any) -> Any:
    """The batch: it was collated under its address already."""
    return batch
