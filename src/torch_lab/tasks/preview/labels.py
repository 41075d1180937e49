"""The targets of samples: which part of a batch they are, and how often each class occurs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from torch_lab.datasets import BaseDataset
from torch_lab.tasks.preview.batches import Leaf, as_array

NAMES = ("y", "label", "labels", "target", "targets", "class", "classes", "mask", "masks")
_ATTRIBUTES = ("targets", "labels")
_PATIENCE = 3.0  # seconds for reading the labels of a dataset
_MANY = 1000  # more different values are no classes


@dataclass(frozen=True)
class Classes:
    """How often each class occurs among `seen` samples of `total`; `source` says where."""

    counts: dict[Any, int]
    seen: int
    total: int
    source: str


def label_of(leaves: Sequence[Leaf], x: Leaf | None) -> Leaf | None:
    """The part of a batch that is its samples' target."""
    others = [leaf for leaf in leaves if leaf is not x and not leaf.shared]
    for name in NAMES:
        for leaf in others:
            if leaf.path.rpartition(".")[2] == name:
                return leaf
    second = (leaf for leaf in others if leaf.path == "[1]")  # of a batch without names
    return next(second, None)


def classes(dataset: Any, label: Leaf | None, patience: float = _PATIENCE) -> Classes | None:
    """The classes of the whole dataset where its labels can be had without its data; else those
    of the batch, if its labels are classes."""
    if label is not None and (label.uneven or not _are_classes(label.values)):
        return None
    found = _of_dataset(dataset, patience)
    if found is not None and len(found.counts) <= _MANY:
        return found
    if label is None:
        return None
    counts = _counted(label.values)
    return Classes(counts, len(label.values), len(label.values), "batch")


def class_names(dataset: Any) -> dict[Any, str]:
    """What the dataset calls its classes, as torchvision's do."""
    names = getattr(_innermost(dataset), "classes", None)
    if isinstance(names, Mapping):
        return {key: str(name) for key, name in names.items()}
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return dict(enumerate(names))
    return {}


def plain_label(value: Any) -> Any:
    """A label that is one number or text, as Python's; a whole number as an int."""
    if type(value) is int:  # as most are: datasets have many
        return value
    array = as_array(value)
    if array is None:
        return value
    if array.size != 1:
        return None
    number = array.reshape(()).item()
    whole = isinstance(number, float) and number.is_integer()
    return int(number) if whole or isinstance(number, bool) else number


def hot(value: Any) -> list[int] | None:
    """The classes of a label of several zeros and ones."""
    array = None if type(value) is int else as_array(value)
    if array is None or array.ndim != 1 or array.size < 2 or not np.isin(array, (0, 1)).all():
        return None
    return [int(index) for index in np.flatnonzero(array)]


def _are_classes(values: Sequence[Any]) -> bool:
    if hot(values[0]) is not None:
        return all(hot(value) is not None for value in values)
    return all(isinstance(plain_label(value), (int, str)) for value in values)


def _counted(values: Sequence[Any]) -> dict[Any, int]:
    several = (hot(value) for value in values)
    counter = Counter(
        each
        for value, found in zip(values, several, strict=True)
        for each in ([plain_label(value)] if found is None else found)
    )
    return dict(sorted(counter.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _of_dataset(dataset: Any, patience: float) -> Classes | None:
    found = _labels(dataset)
    if found is None:
        return None
    total, labels, source = found
    values, end = [], time.monotonic() + patience
    for label in labels:
        values.append(label)
        if time.monotonic() > end:
            break
    if not values or not _are_classes(values):
        return None
    return Classes(_counted(values), len(values), total, source)


def _labels(dataset: Any, chosen: Sequence[int] | None = None) -> Any:
    """How many labels a dataset has, the labels, and where they are from; None: at no low price."""
    if isinstance(dataset, Subset):
        inner = list(dataset.indices)
        return _labels(dataset.dataset, inner if chosen is None else [inner[i] for i in chosen])
    if isinstance(dataset, ConcatDataset):
        return _of_several(dataset, chosen)
    found = _own_labels(dataset)
    if found is None:
        return None
    read, length, source = found
    indices = range(length) if chosen is None else chosen
    return len(indices), (read(i) for i in _spread(indices)), source


def _of_several(dataset: ConcatDataset[Any], chosen: Sequence[int] | None) -> Any:
    indices = range(len(dataset)) if chosen is None else chosen
    starts = [0, *accumulate(len(each) for each in dataset.datasets)]  # type: ignore[arg-type]
    parts = []
    for number, each in enumerate(dataset.datasets):
        first, end = starts[number : number + 2]
        parts.append(_labels(each, [i - first for i in indices if first <= i < end]))
    if any(part is None for part in parts):
        return None
    labels = (label for part in parts for label in part[1])
    return sum(part[0] for part in parts), labels, parts[0][2]


def _own_labels(dataset: Any) -> Any:
    """A function from index to label, how many there are, and its name."""
    kind = type(dataset)
    if isinstance(dataset, BaseDataset):
        if kind.get_raw_label is BaseDataset.get_raw_label:
            return None
        return _raw_label(dataset), len(dataset), "get_raw_label"
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) > 1:
        return _quickly(dataset.tensors[-1]).__getitem__, len(dataset), "the last tensor"
    columns = getattr(dataset, "md", None)  # of train_data=(X, y)
    if isinstance(columns, Mapping) and _is_one_each(columns.get("y"), dataset):
        return _quickly(columns["y"]).__getitem__, len(dataset), "y"
    for name in _ATTRIBUTES:
        values: Any = getattr(dataset, name, None)
        if _is_one_each(values, dataset):
            return _quickly(values).__getitem__, len(values), name
    return None


def _is_one_each(values: Any, dataset: Any) -> bool:
    """Whether they are a list or array with as many values as the dataset has samples."""
    listed = isinstance(values, (list, tuple)) or getattr(values, "ndim", 0) >= 1
    return listed and len(values) == len(dataset)


def _quickly(values: Any) -> Any:
    """Labels of one number each as a list: a tensor is slow to take one by one."""
    return values.tolist() if getattr(values, "ndim", 0) == 1 else values


def _raw_label(dataset: BaseDataset) -> Any:
    def read(index: int) -> Any:
        md = {"i": index, "index": index, **dataset.get_additional_metadata(index)}
        return dataset.get_raw_label(md)

    return read


def _spread(indices: Sequence[int]) -> list[int]:
    """All indices, in an order whose beginning is spread over them: labels are often sorted."""
    order = np.random.default_rng(0).permutation(len(indices))
    return [indices[i] for i in order]


def _innermost(dataset: Any) -> Any:
    if isinstance(dataset, Subset):
        return _innermost(dataset.dataset)
    return _innermost(dataset.datasets[0]) if isinstance(dataset, ConcatDataset) else dataset
