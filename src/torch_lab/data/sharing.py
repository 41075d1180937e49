"""What of an epoch falls to which process."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed

_T = TypeVar("_T")


def world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def share_length(total: int, rank: int, processes: int, pad: bool, none_idle: bool = False) -> int:
    """How much of `total` falls to a process."""
    if none_idle and total < processes:
        return total
    return -(-total // processes) if pad else len(range(rank, total, processes))


def share(
    items: list[_T], rank: int, processes: int, pad: bool, none_idle: bool = False
) -> list[_T]:
    """What falls to a process; with `pad` a few are repeated so that all get equally many.

    With `none_idle` each process gets all of them where some would get none: a mean over all is
    the same then, and nobody waits for one that has nothing to evaluate.
    """
    if processes == 1 or not items or (none_idle and len(items) < processes):
        return items
    if pad:
        missing = -len(items) % processes
        items = items + [items[i % len(items)] for i in range(missing)]
    return items[rank::processes]
