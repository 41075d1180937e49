"""Memory that ran out: what took it, and what to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from torch_lab.callbacks.memory import Memory, kinds_of, memory_of
from torch_lab.utils.text import format_size

_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "Unable to allocate")
_FRAGMENTED = 0.2  # of what is reserved lies unused


def is_meant_by(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, of a GPU's or of the machine's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def explanation(trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> str:
    """What took the memory of the module's device, by kind, and what to try."""
    memory, kinds = memory_of(module.device), kinds_of(module, trainer.optimizers)
    shapes = ", ".join(_shapes(batch))
    lines = [
        f"memory of {module.device} when it ran out:",
        *_table(kinds, memory),
        *([f"  the batch: {shapes}"] if shapes else []),
        "what to try:",
        *(f"  - {each}" for each in _advice(trainer, kinds, memory)),
    ]
    return "\n".join(lines)


def _table(kinds: Mapping[str, int], memory: Memory) -> Iterator[str]:
    rows = dict(kinds)
    if memory.peak is not None:
        rows["activations and the rest"] = max(memory.peak - sum(kinds.values()), 0)
        rows["peak"] = memory.peak
    if memory.reserved is not None and memory.allocated is not None:
        rows["reserved but unused"] = max(memory.reserved - memory.allocated, 0)
    if memory.total is not None:
        rows["the device has"] = memory.total
    for name, size in rows.items():
        yield f"  {name:<24}  {format_size(size):>7}"


def _shapes(value: Any) -> Iterator[str]:
    if isinstance(value, torch.Tensor):
        yield f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from (f"{name} {shape}" for shape in _shapes(each))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _shapes(each)


def _advice(trainer: pl.Trainer, kinds: Mapping[str, int], memory: Memory) -> Iterator[str]:
    on_cpu = trainer.lightning_module.device.type == "cpu"
    if on_cpu:
        yield "fewer loader workers (num_workers), or a dataset that keeps less: each has its own"
    if not trainer.training:
        yield "a smaller batch size: what is computed stays the same"
        return
    yield (
        "half the batch size; with trainer.init.accumulate_grad_batches"
        f" {2 * trainer.accumulate_grad_batches} a step is made of as many samples as now"
    )
    if str(trainer.precision).startswith("32") and not on_cpu:
        yield 'trainer.init.precision "bf16-mixed": activations take half of it'
    if _is_fragmented(memory):
        yield (
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment: much of what is"
            " reserved lies unused, in pieces"
        )
    yield (
        "activation checkpointing (torch.utils.checkpoint): layers compute again in the backward"
        " pass what they would have kept"
    )
    if kinds["optimizer state"] > kinds["weights"]:
        yield 'an optimizer that keeps less, or strategy "fsdp" to share its state among GPUs'
    yield "tensors that are kept from step to step: .detach() what is stored or logged"


def _is_fragmented(memory: Memory) -> bool:
    if memory.reserved is None or memory.allocated is None:
        return False
    return memory.reserved - memory.allocated > _FRAGMENTED * memory.reserved
