"""Arrays, sparse matrices and data frames as datasets: what `train_data=(X, y)` becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from torch_lab.data import DataLoader
from torch_lab.estimators.arrays import rows

BATCH = 1000  # samples, where a table is gone through in batches


class Table(Dataset[Any]):
    """Samples `x` and what is known of each, a dict of columns with the targets as "y"."""

    def __init__(self, x: Any, md: Mapping[str, Any]) -> None:
        self.x = _tensor(x)
        self.md = {name: _tensor(column) for name, column in md.items()}

    def __len__(self) -> int:
        return rows(self.x)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any]]:
        return _taken(self.x, index), {
            name: _taken(column, index) for name, column in self.md.items()
        }

    def __getitems__(self, indices: Sequence[int]) -> tuple[Any, dict[str, Any]]:
        """A batch at once; all of them as they lie."""
        if len(indices) == len(self) and isinstance(indices, range):
            return self.x, dict(self.md)
        chosen = slice(indices[0], indices[-1] + 1) if _in_a_row(indices) else list(indices)
        return _taken(self.x, chosen), {n: _taken(c, chosen) for n, c in self.md.items()}


def table_loader(x: Any, md: Mapping[str, Any], *, whole: bool = False) -> DataLoader:
    """A loader of a table, in its order; `whole` in one batch, that costs nothing."""
    table = Table(x, md)
    if whole:
        return DataLoader(table, batch_sampler=[range(len(table))], collate_fn=_as_it_is)  # type: ignore[list-item]
    return DataLoader(table, batch_size=BATCH, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch


def _in_a_row(indices: Sequence[int]) -> bool:
    return all(after - before == 1 for before, after in pairwise(indices))


def _taken(column: Any, chosen: Any) -> Any:
    if hasattr(column, "iloc"):
        return column.iloc[chosen]
    if isinstance(column, list) and isinstance(chosen, list):
        return [column[index] for index in chosen]
    return column[chosen]


def _tensor(values: Any) -> Any:
    """Arrays of numbers as tensors of the same memory; anything else as it is."""
    if isinstance(values, Tensor) or hasattr(values, "iloc"):
        return values
    if hasattr(values, "tocsr"):  # rows can't be taken from some of scipy's formats
        return values if values.format in ("csr", "csc") else values.tocsr()
    if isinstance(values, (list, tuple)):
        values = np.asarray(values)
    if isinstance(values, np.ndarray) and type(values) is np.ndarray:
        if values.dtype.kind in "biuf" and values.dtype.isnative:
            writable = values if values.flags.writeable else values.copy()
            return torch.from_numpy(writable)
        return values if values.ndim > 1 else values.tolist()
    return values
