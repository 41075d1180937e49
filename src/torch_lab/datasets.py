"""Datasets of samples `(x, md)`, and how to split one.

`md`, the metadata, is a dict of values that torch can collate; its "y" is the target.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from hashlib import blake2b
from math import isclose
from typing import Any

from torch.utils.data import Dataset, Subset

from torch_lab.errors import ConfigurationError
from torch_lab.utils.text import shown

Sample = tuple[Any, dict[str, Any]]


class BaseDataset(Dataset[Sample], ABC):
    """Samples `(x, md)`: override `__len__`, `get_raw_data`, and what else there is to say.

    `md` holds the sample's "index" (as in torch-lab 1.x also under "i"), what
    `get_additional_metadata` adds, and "y" where `get_raw_label` returns one. At last
    `transform(x, md)` is applied.
    """

    transform: Callable[[Any, Any], tuple[Any, Any]] | None = None

    def __init__(self, transform: Callable[[Any, Any], tuple[Any, Any]] | None = None) -> None:
        self.transform = transform

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def get_raw_data(self, md: dict[str, Any]) -> Any:
        """The data of the sample that `md` describes."""

    def get_raw_label(self, md: dict[str, Any]) -> Any:
        """The target of the sample that `md` describes; None for a dataset to predict on."""
        return None

    def get_additional_metadata(self, i: int) -> dict[str, Any]:
        """What to know about sample `i` beside its index."""
        return {}

    def get_raw(self, i: int) -> Sample:
        """Sample `i` before the transform."""
        md = {"i": i, "index": i, **self.get_additional_metadata(i)}
        label = self.get_raw_label(md)
        if label is not None:
            md["y"] = label
        return self.get_raw_data(md), md

    def __getitem__(self, i: int) -> Sample:
        x, md = self.get_raw(self._checked(i))
        return (x, md) if self.transform is None else self.transform(x, md)

    def _checked(self, i: int) -> int:
        index, length = operator.index(i), len(self)
        if not -length <= index < length:
            raise IndexError(f"sample {index} of {length}")
        return index + length if index < 0 else index


class DatasetPart(Subset[Any]):
    """The samples of a dataset that `split` put into the part `name`."""

    def __init__(self, dataset: Dataset[Any], indices: list[int], name: str) -> None:
        super().__init__(dataset, indices)
        self.name = name

    @property
    def lineage(self) -> str:
        """The names of the parts this one is a part of, so that a second split draws anew."""
        return f"{getattr(self.dataset, 'lineage', '')}/{self.name}"

    def sample_key(self, i: int) -> object:
        """What identifies sample `i` in the dataset that was split first."""
        return _sample_key(self.dataset)(self.indices[i])

    def __repr__(self) -> str:
        return f"DatasetPart({self.name!r}, {len(self)} samples of {self.dataset!r})"


def split(
    dataset: Dataset[Any], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, DatasetPart]:
    """Parts of `dataset`, named as in `fractions`: `split(dataset, {"train": 0.8, "val": 0.2})`.

    Where a sample goes follows from the seed and what identifies it, so no sample changes sides
    when others are added; the parts have their sizes only on average. A sample is identified by
    its index, or by `dataset.sample_key(i)` if there is such a method: samples with equal keys
    (the same patient) stay together.
    """
    _check_fractions(fractions)
    key, salt = _sample_key(dataset), f"{seed}:{getattr(dataset, 'lineage', '')}:"
    indices: dict[str, list[int]] = {name: [] for name in fractions}
    length = len(dataset)  # type: ignore[arg-type]
    for i in range(length):
        indices[_part(fractions, _uniform(f"{salt}{key(i)}"))].append(i)
    for name, chosen in indices.items():
        if not chosen and fractions[name] > 0:
            raise ConfigurationError(
                f'split: no sample of {length} falls into "{name}" ({fractions[name]:g})',
                hint="Samples are drawn one by one: give it a larger fraction or another seed.",
            )
    return {name: DatasetPart(dataset, chosen, name) for name, chosen in indices.items()}


def _check_fractions(fractions: Mapping[str, float]) -> None:
    if not isinstance(fractions, Mapping):
        raise ConfigurationError(
            f"split: fractions {shown(fractions)}",
            hint='Expected a dict such as {"train": 0.8, "val": 0.2}: each part has a name.',
        )
    total = sum(fractions.values())
    if any(fraction < 0 for fraction in fractions.values()) or not isclose(total, 1, abs_tol=1e-6):
        raise ConfigurationError(
            f"split: the fractions {dict(fractions)} must not be negative and must sum to 1,"
            f" not {total:g}",
            hint="What you want to leave out needs a name too.",
        )


def _sample_key(dataset: Dataset[Any]) -> Callable[[int], object]:
    key: Callable[[int], object] = getattr(dataset, "sample_key", int)
    return key


def _uniform(text: str) -> float:
    digest = blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _part(fractions: Mapping[str, float], position: float) -> str:
    edge = 0.0
    for name, fraction in fractions.items():
        edge += fraction
        if position < edge:
            return name
    # Rounding may leave the last edge just below 1.
    return next(name for name in reversed(list(fractions)) if fractions[name] > 0)
