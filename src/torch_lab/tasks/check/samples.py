"""Some of a loader's samples, spread over its data and looked at together."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
)

from torch_lab.data.order import unwrapped
from torch_lab.data.randomness import seeded
from torch_lab.tasks.check.cutting import can_be_cut
from torch_lab.tasks.check.subject import Source

MOST = 256
_SECONDS = 1.0
_BYTES = 64_000_000
_DRAWN = 100_000  # indices of a sampler that may never end
Key = tuple[Any, ...]  # the way to a tensor in a nested batch


@dataclass
class Survey:
    """Samples of a loader, by their indices in its dataset.

    `batch` is what its collate_fn makes of all of them, None where it can't. `failed` is the
    first sample that can't be had, and why.
    """

    indices: list[int] = field(default_factory=list)
    samples: list[Any] = field(default_factory=list)
    batch: Any = None
    failed: tuple[int, Exception] | None = None

    def column(self, key: Key) -> Tensor | None:
        """What all samples have in one place of the batch."""
        found = dict(tensors(self.batch)).get(key)
        return found if found is not None and found.dim() else None


def survey(source: Source) -> Survey:
    """The samples of a loader that were looked at; the same ones each time."""
    if source.survey is None and source.batch is not None:
        source.survey = Survey()
        _fill(source.survey, source)
    return source.survey or Survey()


def _fill(found: Survey, source: Source) -> None:
    loader = source.loader
    if not can_be_cut(loader) or not has_indices(loader):
        return
    every = indices(loader)
    if not every or not isinstance(every[0], Integral):
        return
    # Seeds of their own: samples drawn at random are to differ between the loaders.
    with seeded(zlib.crc32(source.name.encode())):
        _load(loader.dataset, spread(every), found)
        if found.samples and loader.batch_sampler is not None:
            try:
                found.batch = loader.collate_fn(_together(loader.dataset, found))
            except Exception:  # noqa: BLE001  any, of the user's: the trial tells of it
                found.batch = None


def _load(dataset: Any, chosen: Sequence[int], found: Survey) -> None:
    end, size = time.monotonic() + _SECONDS, 0
    for index in chosen:
        try:
            sample = dataset[index]
        except Exception as error:  # noqa: BLE001  any, of the user's: it becomes a finding
            found.failed = found.failed or (index, error)
            continue
        found.indices.append(index)
        found.samples.append(sample)
        size += sum(each.numel() * each.element_size() for _, each in tensors(sample))
        if time.monotonic() > end or size > _BYTES:
            break


def _together(dataset: Any, found: Survey) -> Any:
    """The samples as a loader gives them to its collate_fn."""
    many = getattr(dataset, "__getitems__", None)
    return many(found.indices) if callable(many) else list(found.samples)


def spread(every: Sequence[int], most: int = MOST) -> list[int]:
    """The last and the first, then others evenly between them: all, where there are few.

    The order is kept, but for the last one, which a wrong length would show.
    """
    step = max(len(every) // most, 1)
    middle = [every[place] for place in range(0, len(every) - 1, step)][: most - 1]
    return [every[-1], *middle]


def has_indices(loader: Any) -> bool:
    """Whether its dataset can be asked for single samples."""
    dataset = getattr(loader, "dataset", None)
    return hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset)


def indices(loader: Any) -> Sequence[Any]:
    """Those that an epoch asks for, as far as they can be drawn."""
    sampler = sampler_of(loader)
    if in_order(loader) or is_plain_shuffle(sampler):
        return range(len(loader.dataset))
    with seeded(0):
        if sampler is None:
            batches = unwrapped(loader.batch_sampler)
            drawn = (each for batch in batches for each in _listed(batch))
            return list(islice(drawn, _DRAWN))
        return list(islice(sampler, _DRAWN))


def _listed(batch: Any) -> Any:
    return batch if isinstance(batch, (list, tuple)) else [batch]


def sampler_of(loader: Any) -> Any:
    """What draws the samples; None where that also makes the batches."""
    batches = unwrapped(loader.batch_sampler)
    if batches is None:
        return unwrapped(loader.sampler)
    return unwrapped(batches.sampler) if type(batches) is BatchSampler else None


def in_order(loader: Any) -> bool:
    """Whether the samples come as they lie in the dataset."""
    return isinstance(sampler_of(loader), SequentialSampler)


def is_plain_shuffle(sampler: Any) -> bool:
    """Whether each sample comes once."""
    plain = isinstance(sampler, RandomSampler) and not sampler.replacement
    return plain and sampler.num_samples == len(sampler.data_source)


def origin(dataset: Any, index: int) -> tuple[Any, int]:
    """The dataset that a part was taken from, and the sample's index there."""
    while True:
        if isinstance(dataset, Subset):
            dataset, index = dataset.dataset, int(dataset.indices[index])
        elif isinstance(dataset, ConcatDataset):
            index = index + len(dataset) if index < 0 else index
            part = next(i for i, end in enumerate(dataset.cumulative_sizes) if index < end)
            index -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
        else:
            return dataset, index


def tensors(value: Any, above: Key = ()) -> Iterator[tuple[Key, Tensor]]:
    """The tensors in nested values, and the ways to them; arrays and numbers as tensors."""
    if isinstance(value, Tensor):
        if value.layout is torch.strided:
            yield above, value.detach()
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            yield above, torch.from_numpy(np.ascontiguousarray(value).copy())
    elif isinstance(value, (bool, int, float)):
        if not isinstance(value, int) or abs(value) < 2**62:
            yield above, torch.tensor(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from tensors(each, (*above, key))
    elif isinstance(value, (list, tuple)):
        for place, each in enumerate(value):
            yield from tensors(each, (*above, place))


def same_place(batch: Any, wanted: Tensor) -> Key | None:
    """Where in a batch a tensor stands that a step has used; None where that is not sure."""
    if wanted.device.type != "cpu":
        return place_of_equal(batch, wanted.cpu())
    for key, each in tensors(batch):
        if each.dim() and _address(each) == _address(wanted) and each.shape == wanted.shape:
            return key
    return None


def place_of_equal(batch: Any, wanted: Tensor) -> Key | None:
    """The same of a tensor that was moved: the only one with its values."""
    alike = [key for key, each in tensors(batch) if _equal(each.cpu(), wanted)]
    return alike[0] if len(alike) == 1 else None


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _equal(one: Tensor, other: Tensor) -> bool:
    return bool(one.dim()) and one.dtype == other.dtype and torch.equal(one, other)
