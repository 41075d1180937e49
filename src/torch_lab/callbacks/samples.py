"""Which samples a batch holds, as far as anybody knows, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torch_lab.data import DataLoader

_SHOWN = 8


def place(epoch: int | None, batch: int, samples: Any) -> str:
    """Epoch, batch and samples in words, counted from one as the progress line counts."""
    when = "" if epoch is None else f"epoch {epoch + 1}, "
    which = "" if samples is None else f", {numbered(samples)}"
    return f"{when}batch {batch + 1}{which}"


def numbered(samples: Any) -> str:
    """`samples 5, 3 and 2 more`, or `sample 5`; of several loaders, each one's."""
    if isinstance(samples, Mapping):
        return "; ".join(f"{numbered(each)} of {name!r}" for name, each in samples.items())
    if isinstance(samples, range):  # a table, in one batch
        return f"all {len(samples)} samples"
    numbers = samples.reshape(-1).tolist() if isinstance(samples, torch.Tensor) else samples
    if not isinstance(numbers, (list, tuple)):
        return f"sample {numbers}"
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"sample{'s' * (len(numbers) != 1)} {shown}{more}"


def told(batch: Any) -> Any:
    """The samples' indices, where the batch's metadata tells them."""
    if isinstance(batch, (tuple, list)) and len(batch) > 1 and isinstance(batch[1], dict):
        return batch[1].get("index")
    return None


def drawn(loaders: Any, batch: int, loader: int = 0, *, epoch: int | None = None) -> Any:
    """The indices that an exact loader put into a batch of its epoch, if that is `epoch`.

    Of loaders that give a batch together, those of each.
    """
    chosen = _chosen(loaders, loader)
    if isinstance(chosen, (Mapping, list, tuple)):
        pairs = chosen.items() if isinstance(chosen, Mapping) else enumerate(chosen)
        found = {name: drawn([each], batch, epoch=epoch) for name, each in pairs}
        return {name: each for name, each in found.items() if each is not None} or None
    if not isinstance(chosen, DataLoader) or not chosen.exact:
        return None
    if epoch is not None and chosen.epoch != epoch:
        return None
    batches = chosen.epoch_batches()
    return batches[batch] if batch < len(batches) else None


def _chosen(loaders: Any, number: int) -> Any:
    """One of several loaders, in the order in which they are evaluated."""
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, Sequence):
        return loaders[number] if number < len(loaders) else None
    return loaders
