"""What a training step holds in memory, and how gradients and parameters fare in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torch_lab.tasks.check.subject import Gradient, Memory, Trial


@contextmanager
def activations(module: nn.Module, memory: Memory) -> Iterator[None]:
    """Inside, what backward will need is summed up, each storage once, weights not."""
    known = {each.untyped_storage().data_ptr() for each in module.parameters() if _is_there(each)}
    memory.activations = 0

    def pack(tensor: Tensor) -> tuple[Tensor, int]:
        kept = tensor.detach()
        if _is_there(kept) and (address := kept.untyped_storage().data_ptr()) not in known:
            known.add(address)
            memory.activations += kept.untyped_storage().nbytes()
        return kept, tensor._version

    with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
        yield


def _unpack(packed: tuple[Tensor, int]) -> Tensor:
    tensor, version = packed
    if tensor._version != version:  # which autograd notices only where nobody packs for it
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace"
            f" operation: {tuple(tensor.shape)} is at version {tensor._version};"
            f" expected version {version} instead"
        )
    return tensor


def _is_there(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not nn.parameter.is_lazy(tensor)


def watch_gradients(module: nn.Module, trial: Trial) -> Callable[[], None]:
    """Note each parameter's first gradient; what is returned ends that."""
    handles = [
        parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
            partial(_note, trial, name)
        )
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and not nn.parameter.is_lazy(parameter)
    ]

    def undo() -> None:
        for each in handles:
            each.remove()

    return undo


def _note(trial: Trial, name: str, parameter: Tensor) -> None:
    gradient = parameter.grad
    if name in trial.gradients or gradient is None:
        return
    values = gradient.detach()
    values = values.coalesce().values() if values.is_sparse else values
    largest = float(values.abs().max()) if values.numel() else 0.0
    trial.gradients[name] = Gradient(largest, bool(torch.isfinite(values).all()))


class Snapshot:
    """A module's parameters, buffers and modes as they were."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._values: dict[str, Tensor] = {}
        self.take()
        self._training = {name: each.training for name, each in module.named_modules()}

    def take(self) -> None:
        """Keep what was not there before."""
        for name, each in _tensors(self._module):
            if name not in self._values:
                self._values[name] = each.detach().cpu().clone()

    def changed(self) -> set[str]:
        """The parameters with other values by now."""
        return {
            name
            for name, each in self._module.named_parameters()
            if name in self._values and not torch.equal(each.detach().cpu(), self._values[name])
        }

    @torch.no_grad()
    def put_back(self) -> None:
        """Make the module as it was."""
        for name, each in _tensors(self._module):
            if name in self._values and each.shape == self._values[name].shape:
                each.copy_(self._values[name])
        for parameter in self._module.parameters():
            parameter.grad = None
        for name, each in self._module.named_modules():
            each.training = self._training.get(name, True)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, each in (*module.named_parameters(), *module.named_buffers()):
        if not nn.parameter.is_lazy(each):
            yield name, each


def measure(memory: Memory, module: nn.Module, optimizers: list[Any], batch: Any) -> None:
    """Add what is there for the whole of training."""
    parameters = [each for each in module.parameters() if not nn.parameter.is_lazy(each)]
    memory.parameters = sum(map(size, parameters))
    memory.gradients = sum(size(each) for each in parameters if each.requires_grad)
    memory.buffers = sum(size(each) for each in module.buffers())
    memory.optimizer = sum(size(each.state) for each in optimizers)
    memory.batch = size(batch)


def size(value: Any) -> int:
    """The bytes of the tensors in nested values."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict) or hasattr(value, "items"):
        return sum(size(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return sum(map(size, value))
    return 0
