"""How large each parameter's gradient is, looked at without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor


class Largest(NamedTuple):
    """The largest absolute value in each gradient after a backward pass; NaN where one is."""

    names: tuple[str, ...]
    values: Tensor


class Gradients:
    """The gradients of one module, and the order in which a backward pass comes by them."""

    def __init__(self) -> None:
        self._parameters: list[tuple[str, Tensor]] = []
        self._order: dict[str, int] = {}
        self._handles: list[Any] = []

    def follow(self, module: pl.LightningModule) -> None:
        """Take note of what the module has now, and in which order gradients come first time."""
        # sharded ones can't be looked at from one process
        named = [(n, p) for n, p in module.named_parameters() if type(p) is torch.nn.Parameter]
        self._parameters = list(named)
        if not self._order and not self._handles:
            hooked: list[tuple[str, Any]] = [(n, p) for n, p in named if p.requires_grad]
            self._handles = [
                each.register_post_accumulate_grad_hook(self._noting(name)) for name, each in hooked
            ]

    def _noting(self, name: str) -> Callable[[Tensor], None]:
        def note(_: Tensor) -> None:
            self._order.setdefault(name, len(self._order))

        return note

    def leave(self) -> None:
        """One batch tells the order; from then on nothing is paid for it."""
        for each in self._handles:
            each.remove()
        self._handles = []

    def look(self, device: torch.device) -> Largest | None:
        """What a backward pass has just left."""
        found = [(n, _values(p.grad)) for n, p in self._parameters if p.grad is not None]
        pairs = [(name, each) for name, each in found if each.numel()]
        if not pairs:
            return None
        largest = [torch.linalg.vector_norm(each, float("inf")) for _, each in pairs]
        values = torch.stack([each.to(device, torch.float32) for each in largest])
        return Largest(tuple(name for name, _ in pairs), values)

    def in_order(self, names: Sequence[str]) -> list[str]:
        """Parameters as the backward pass comes by them, from the loss on."""
        return sorted(names, key=lambda name: self._order.get(name, len(self._order)))


def _values(gradient: Tensor) -> Tensor:
    gradient = gradient.detach()
    return gradient.coalesce().values() if gradient.is_sparse else gradient
