"""All batches of a loader as one, in the order in which they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader as TorchDataLoader

from torch_lab.data import DataLoader, make_exact
from torch_lab.errors import ConfigurationError
from torch_lab.estimators import memory, naming
from torch_lab.estimators.arrays import rows
from torch_lab.estimators.tables import Table
from torch_lab.modules import pairs

Limit = int | float | None
Whole = tuple[Any, dict[str, Any]]


def collected(loaders: Any, seed: int, limit: Limit, name: str, *, in_order: bool = False) -> Whole:
    """The samples of all batches, and what is known of them."""
    loader = single(loaders, seed, name)
    if in_order:
        loader = _in_order(loader)
    table = getattr(loader, "dataset", None)
    if isinstance(table, Table) and limit is None:
        return table.x, dict(table.md)
    wanted = _wanted(loader, limit)
    batches = [*_watched(islice(iter(loader), wanted), loader, wanted, name)]
    if not batches:
        raise ConfigurationError(
            f"{name}: there is no batch in them",
            hint="The dataset is empty, or smaller than a batch where drop_last=True.",
        )
    return _joined([x for x, _ in batches]), _known([md for _, md in batches])


def single(loaders: Any, seed: int, name: str) -> Any:
    """The one loader that there is, as exact as it can be."""
    while isinstance(loaders, (list, tuple)) and len(loaders) == 1:
        loaders = loaders[0]
    if isinstance(loaders, (list, tuple, Mapping)) or hasattr(loaders, "flattened"):
        raise ConfigurationError(
            f"{name}: several loaders; an estimator is trained on one",
            hint="torch.utils.data.ConcatDataset makes one dataset of several.",
        )
    return make_exact(loaders, seed, pad=False)[0]


def require_targets(estimator: Any, x: Any, md: Mapping[str, Any], name: str) -> None:
    """Refuse samples without targets, for what is trained or judged by them."""
    if "y" in md:
        if rows(md["y"]) != rows(x):
            raise ConfigurationError(f"{name}: {rows(x)} samples in X, and {rows(md['y'])} in y")
    elif naming.needs_targets(estimator):
        known = ", ".join(map(repr, md)) or "no key"
        raise ConfigurationError(
            f'{name}: no "y" in the metadata of a batch, which {naming.name_of(estimator)} needs:'
            f" it has {known}",
            hint='Put the target into md["y"]; BaseDataset has it from get_raw_label.',
        )


def _in_order(loader: Any) -> Any:
    """Unshuffled, as overfit_batches means it."""
    if not isinstance(loader, TorchDataLoader) or loader.batch_size is None:
        return loader
    return DataLoader(
        loader.dataset,
        loader.batch_size,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        drop_last=loader.drop_last,
        seed=getattr(loader, "seed", None),
    )


def _wanted(loader: Any, limit: Limit) -> int | None:
    """How many batches; a fraction of them is at least one, as far as there are any."""
    if limit is None or (limit == 1.0 and isinstance(limit, float)):
        return None
    if isinstance(limit, int):
        return limit
    try:
        return max(1, int(len(loader) * limit))
    except TypeError:  # a loader without a length
        return None


def _watched(
    batches: Iterable[Any], loader: Any, wanted: int | None, name: str
) -> Iterator[tuple[Any, dict[str, Any]]]:
    watch = memory.Watch(name, _expected(loader, wanted))
    for batch in batches:
        x, md = pairs.to_train_on(batch)
        if isinstance(x, Mapping):
            raise ConfigurationError(
                f"{name}: the samples of a batch are a dict of {', '.join(map(repr, x))}",
                hint="An estimator takes one array of samples: let the dataset return one.",
            )
        watch.add(x)
        yield x, dict(md)


def _expected(loader: Any, wanted: int | None) -> int | None:
    """How many batches there will be, if the loader knows."""
    try:
        length = len(loader)
    except TypeError:
        return wanted
    return length if wanted is None else min(length, wanted)


def _joined(parts: list[Any]) -> Any:
    """Batches of samples, or of a column, as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if hasattr(first, "iloc"):
        import pandas

        return pandas.concat(parts)
    if hasattr(first, "tocsr"):
        from scipy import sparse

        return sparse.vstack(parts, format="csr")
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    return [each for part in parts for each in part]


def _known(mds: list[dict[str, Any]]) -> dict[str, Any]:
    """What is said of every sample; what isn't as long as the batch is left out."""
    names = [name for name, value in mds[0].items() if _column(value)]
    return {name: _joined([md[name] for md in mds]) for name in names}


def _column(value: Any) -> bool:
    try:
        return not isinstance(value, (str, Mapping)) and rows(value) >= 0
    except TypeError:
        return False
