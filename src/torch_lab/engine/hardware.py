"""What is chosen for the machine where nobody has said anything else, in one line at the start."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import IterableDataset

from torch_lab.data import DataLoader
from torch_lab.store.environment import usable_cores
from torch_lab.utils.launched import Launch
from torch_lab.utils.text import plural

_MOST_WORKERS = 8
_TENSOR_CORES = 8  # the compute capability from which on there is TF32


class Hardware:
    """What the processes of one run have, and what is made of it."""

    def __init__(self, trainer: pl.Trainer, launch: Launch | None) -> None:
        self._trainer = trainer
        self._on_gpu = isinstance(trainer.accelerator, CUDAAccelerator)
        own = trainer.num_devices if launch is None else launch.local_world
        self.cores = cores(own, launch)
        self._workers: int | None = None
        self._precision = ""

    def prepare(self) -> None:
        """Let float32 products be computed on tensor cores, unless the experiment has chosen."""
        if not self._on_gpu:
            return
        with suppress(RuntimeError):  # chosen through torch.backends: the two don't mix
            if torch.get_float32_matmul_precision() == "highest":
                torch.set_float32_matmul_precision("high")
            if torch.get_float32_matmul_precision() != "highest":
                capable = torch.cuda.get_device_capability()[0] >= _TENSOR_CORES
                self._precision = "TF32" if capable else ""

    def settle(self, loaders: Any) -> None:
        """Choose for loaders what they leave open; on the CPU training needs the cores itself."""
        if not self._on_gpu:
            return
        for each in _loaders(loaders):
            workers = min(self._most_workers(), _batches(each))
            each.settle(num_workers=workers, pin_memory=True)
            self._workers = max(self._workers or 0, each.num_workers)

    def line(self, loaders: Any) -> str | None:
        """What training runs on and with; None where there is nothing to tell."""
        trainer = self._trainer
        parts = list(filter(None, [self._precision, self._loading(), self._batch(loaders)]))
        if not self._on_gpu and not parts:
            return None
        if self._on_gpu:
            name = torch.cuda.get_device_name()
            where = f"{plural(trainer.world_size, 'GPU')} ({name}), {trainer.precision}"
        else:
            processes = plural(trainer.world_size, "process", "processes")
            where = f"the CPU, {processes}" if trainer.world_size > 1 else "the CPU"
        return ", ".join([f"on {where}", *parts])

    def remark(self, loaders: Any) -> str | None:
        """What a dataset without indices means to several processes; None where there is none."""
        world = self._trainer.world_size
        every = _loaders(loaders, TorchDataLoader)
        if world == 1 or not any(isinstance(each.dataset, IterableDataset) for each in every):
            return None
        return (
            f"the data has no indices: each of the {world} processes is given all of it, unless"
            " its __iter__ chooses by torch.distributed.get_rank()"
        )

    def _most_workers(self) -> int:
        return min(self.cores - 1, _MOST_WORKERS) if _forks() else 0

    def _loading(self) -> str:
        return "" if self._workers is None else plural(self._workers, "loader worker")

    def _batch(self, loaders: Any) -> str:
        """How many samples an update is made from, where that isn't what the loader says."""
        sizes = {each.batch_size for each in _loaders(loaders)}
        size = sizes.pop() if len(sizes) == 1 else None
        world, accumulated = self._trainer.world_size, self._trainer.accumulate_grad_batches
        if size is None or world * accumulated == 1:
            return ""
        more = f" x {world} {'GPUs' if self._on_gpu else 'processes'}" if world > 1 else ""
        more += f" x {accumulated} accumulated" if accumulated > 1 else ""
        return f"{size * world * accumulated} samples an update ({size}{more})"


def cores(processes: int, launch: Launch | None = None) -> int:
    """How many cores each of a machine's `processes` has: affinity, container and Slurm count."""
    usable = math.floor(usable_cores() or 1)
    if launch is not None and launch.by == "srun":
        told = os.environ.get("SLURM_CPUS_PER_TASK", "")
        on_node = os.environ.get("SLURM_CPUS_ON_NODE", "")
        if told.isdecimal():
            return max(1, min(usable, int(told)))
        if on_node.isdecimal() and usable < int(on_node):
            return max(1, usable)  # each task is bound to its own
    return max(1, usable // max(1, processes))


def share_threads(processes: int, launch: Launch | None) -> None:
    """Let the processes of a machine not compute with all of its cores each."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    count = cores(processes, launch)
    if count < torch.get_num_threads():
        torch.set_num_threads(count)


def _forks() -> bool:
    """Whether workers start as copies: otherwise lambdas in transforms could not reach them."""
    method = multiprocessing.get_start_method(allow_none=True)
    return method == "fork" or (
        method is None and sys.platform == "linux" and sys.version_info < (3, 14)
    )


def _loaders(value: Any, kind: type[Any] = DataLoader) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _loaders(each, kind)
    elif isinstance(value, dict):
        yield from _loaders(list(value.values()), kind)
    elif isinstance(flattened := getattr(value, "flattened", None), list):  # a CombinedLoader
        yield from _loaders(flattened, kind)


def _batches(loader: DataLoader) -> int:
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # a sampler without a length
        return _MOST_WORKERS
