"""Sums and states over all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from torch_lab.metric_states import moved, on_cpu, parts_of, state_device


def sum_dtype(device: torch.device) -> torch.dtype:
    """Double precision where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def distributed() -> bool:
    """Whether there are several processes."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def is_first() -> bool:
    """Whether this is the only process, or the one that speaks for all."""
    return not distributed() or torch.distributed.get_rank() == 0


def sums(values: list[Any], device: torch.device) -> Tensor:
    """Each value summed over the processes."""
    dtype = sum_dtype(device)
    if not values:
        return torch.zeros(0, dtype=dtype)
    found = torch.stack([torch.as_tensor(each, dtype=dtype, device=device) for each in values])
    if distributed():
        torch.distributed.all_reduce(found)
    return found


def names_of_all(names: list[str]) -> list[str]:
    """The names that any process knows, in an order that they agree on."""
    if not distributed():
        return names
    return list(dict.fromkeys(name for each in _gathered(names) for name in each))


def _gathered(value: Any, group: Any = None) -> list[Any]:
    every: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(every, value, group=group)
    return every


@contextmanager
def lists_of_any_length(metrics: Iterable[nn.Module]) -> Iterator[None]:
    """Within it, metrics compute over all processes however many batches each has had.

    torchmetrics gathers most lists of states item by item: processes with different numbers of
    items wait for each other forever.
    """
    found = list(_uneven(metrics)) if distributed() else []
    for part, names in found:
        part._sync_dist = partial(_sync, part, names)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for part, _ in found:
            del part._sync_dist


def _uneven(metrics: Iterable[nn.Module]) -> Iterator[tuple[Metric, list[str]]]:
    """The parts of metrics, and the states of them, that torchmetrics can't gather."""
    parts = [part for metric in metrics for _, part in parts_of(metric)]
    for part, lengths in zip(
        parts, zip(*_gathered([*map(_lengths, parts)]), strict=True), strict=True
    ):
        if type(part)._sync_dist is Metric._sync_dist:  # what has its own gathers as it should
            names = [name for name in lengths[0] if _stuck(part, name, [n[name] for n in lengths])]
            if names:
                yield part, names


def _lengths(part: Metric) -> dict[str, int]:
    states = {name: getattr(part, name) for name in part._reductions}
    return {name: len(state) for name, state in states.items() if isinstance(state, list)}


def _stuck(part: Metric, name: str, lengths: list[int]) -> bool:
    # Of lists that are concatenated each process gathers one item, if it has any.
    concatenates = part._reductions[name] is dim_zero_cat
    return (min(lengths) == 0 < max(lengths)) if concatenates else len(set(lengths)) > 1


def _sync(
    part: Metric, names: list[str], dist_sync_fn: Callable[..., Any], process_group: Any = None
) -> None:
    """As Metric._sync_dist, but the states `names` are gathered whole."""
    reductions = part._reductions
    every = _gathered(
        {name: on_cpu(getattr(part, name)) for name in names}, process_group or part.process_group
    )
    part._reductions = {name: each for name, each in reductions.items() if name not in names}
    try:
        Metric._sync_dist(part, dist_sync_fn, process_group)
    finally:
        part._reductions = reductions
    for name in names:
        items = [item for states in every for item in states[name]]
        items, reduction = moved(items, state_device(part, name)), reductions[name]
        setattr(part, name, reduction(items) if callable(reduction) else items)


@contextmanager
def joined(metric: nn.Module) -> Iterator[None]:
    """Within it, a metric's states are those of all processes, and stay so when it computes."""
    with ExitStack() as stack:
        stack.enter_context(lists_of_any_length([metric]))
        if distributed():
            for _, part in parts_of(metric):
                stack.enter_context(part.sync_context())
                stack.enter_context(_left_alone(part))
        yield


@contextmanager
def _left_alone(part: Metric) -> Iterator[None]:
    before = part._to_sync, part._should_unsync
    part._to_sync = part._should_unsync = False
    try:
        yield
    finally:
        part._to_sync, part._should_unsync = before
