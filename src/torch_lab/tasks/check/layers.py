"""The layers of a module while a batch is trained: what mode they are in, and what they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_WATCHED = (_BatchNorm, _DropoutNd, *_RECTIFIERS)
_MANY = 16  # units: fewer may all be silent for two samples by chance


@dataclass(frozen=True)
class Layer:
    """One that was called in a training step: of the kinds that a mistake often shows in."""

    kind: str
    training: bool
    values: int  # that each sample gives a channel
    silent: bool = False  # what came out was all zeros, and what went in was not


@contextmanager
def watching(module: nn.Module, layers: dict[str, Layer], called: set[str]) -> Iterator[None]:
    """Inside, layers that are called are noted by their names."""
    handles: list[RemovableHandle] = []
    for name, each in module.named_modules():
        handles.append(each.register_forward_pre_hook(partial(_note_call, called, name)))
        if isinstance(each, _WATCHED):
            handles.append(each.register_forward_pre_hook(partial(_note, layers, name)))
        if isinstance(each, _RECTIFIERS):
            handles.append(each.register_forward_hook(_noting_output(layers, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note_call(called: set[str], name: str, *_: Any) -> None:
    called.add(name)


def _note(layers: dict[str, Layer], name: str, module: nn.Module, args: Any) -> None:
    given = args[0] if args else None
    if isinstance(given, Tensor) and given.dim() > 1:
        values = given.numel() // max(given.shape[0] * given.shape[1], 1)
        layers[name] = Layer(type(module).__name__, module.training, values)


def _noting_output(layers: dict[str, Layer], name: str) -> Callable[..., None]:
    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and name in layers:
            units = output.numel() // max(len(output), 1) if output.dim() else 0
            silent = units >= _MANY and not torch.count_nonzero(output.detach()).item()
            layers[name] = replace(layers[name], silent=silent)

    return note
