"""How much memory training takes: of which kind, and on which device."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from torch_lab.errors import ConfigurationError

GIGABYTE = 1e9


@dataclass(frozen=True)
class Memory:
    """A device's memory as this process uses it, in bytes; None where nobody tells."""

    allocated: int | None = None  # by tensors; on the CPU by the whole process
    reserved: int | None = None  # by torch from the device, used or kept for later
    peak: int | None = None  # the most that was allocated
    total: int | None = None  # what the device has


def memory_of(device: torch.device) -> Memory:
    """What the device says."""
    if device.type == "cuda" and torch.cuda.is_available():
        return Memory(
            torch.cuda.memory_allocated(device),
            torch.cuda.memory_reserved(device),
            torch.cuda.max_memory_allocated(device),
            torch.cuda.get_device_properties(device).total_memory,
        )
    if device.type == "mps":
        return Memory(torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory())
    if device.type == "cpu":
        return Memory(allocated=_resident(), peak=_most_resident())
    return Memory()


def _resident() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):  # not Linux
        return None
    return pages * resource.getpagesize()


def _most_resident() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def kinds_of(module: pl.LightningModule, optimizers: Iterable[Any]) -> dict[str, int]:
    """The bytes that weights, gradients and optimizer state take on the module's device."""
    parameters = [*module.parameters()]
    states = [value for each in optimizers for value in _tensors(getattr(each, "state", {}))]
    # Gradients come and go within a step; after a first one the peak was with all of them.
    gradients = (each if states else each.grad for each in parameters if each.requires_grad)
    kinds: dict[str, Iterable[Any]] = {
        "weights": [*parameters, *module.buffers()],
        "gradients": (each for each in gradients if each is not None),
        "optimizer state": states,
    }
    return {name: _size(tensors, module.device) for name, tensors in kinds.items()}


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


def _size(tensors: Iterable[torch.Tensor], device: torch.device) -> int:
    """The bytes of the tensors that lie on a device; storage that some share counts once."""
    sizes = {}
    for each in tensors:
        # a sharded tensor's own part is what lies here
        local = each.to_local() if hasattr(each, "to_local") else each
        if local.device.type == device.type and not torch.nn.parameter.is_lazy(local):
            storage = local.untyped_storage()
            sizes[storage.data_ptr() or id(local)] = storage.nbytes()
    return sum(sizes.values())


class DeviceMemory(pl.Callback):
    """Logs the memory of the module's device, in gigabytes (10**9 bytes).

    `memory/allocated`, `memory/reserved` (on GPUs) and `memory/peak` are logged each
    `every_n_steps` training batches (None: as often as the Trainer logs), and at the end of each
    epoch and validation. On the CPU it is the memory of the process.
    """

    def __init__(self, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and (type(every_n_steps) is not int or every_n_steps < 1):
            raise ConfigurationError(
                f"DeviceMemory(every_n_steps={every_n_steps!r}): expected a whole number of at"
                " least 1, or None to log when the Trainer does"
            )
        self.every_n_steps = every_n_steps

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log when it is time."""
        every = self.every_n_steps or trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (batch_idx + 1) % every == 0:
            self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what the epoch came to."""
        self._log(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what validation came to."""
        if not trainer.sanity_checking:
            self._log(trainer, pl_module)

    def _log(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        memory = memory_of(module.device)
        values = {
            f"memory/{name}": value / GIGABYTE
            for name in ("allocated", "reserved", "peak")
            if (value := getattr(memory, name)) is not None
        }
        values["epoch"] = trainer.current_epoch
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
