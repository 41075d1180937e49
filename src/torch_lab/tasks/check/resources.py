"""What training needs of memory and disk, against what there is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from torch_lab.callbacks import RunCheckpoint
from torch_lab.engine.trainer import listed
from torch_lab.store import environment
from torch_lab.tasks.check.findings import Finding, error, warning
from torch_lab.tasks.check.subject import Subject
from torch_lab.utils.text import format_size

_BESIDE = 2  # the best one, and the one that is being written


def memory(subject: Subject) -> Iterator[Finding]:
    """Weights, gradients, optimizer and one batch, on the device that trains."""
    needed = subject.trial.memory
    room = room_on(subject.trial.device)
    if room is None or needed.total <= room:
        return
    what = f"{format_size(needed.total)} are needed on {subject.trial.device}"
    there = f"which has {format_size(room)}"
    if needed.fixed > room:
        yield error(
            "memory",
            f"{what}, {there}: weights, gradients and optimizer alone take"
            f" {format_size(needed.fixed)}",
            hint="A smaller model, another optimizer, or several devices with a sharding strategy.",
        )
    else:
        yield warning(
            "memory",
            f"about {what}, {there}: a batch takes some {format_size(needed.of_batch)}",
            hint="Smaller batches, perhaps with accumulate_grad_batches; or a lower precision.",
        )


def arrays(subject: Subject) -> Iterator[Finding]:
    """The data that an estimator is fitted to at once, which are all in memory then."""
    needed, room = subject.trial.memory.of_batch, room_on("cpu")
    if room is not None and needed > room:
        yield error(
            "memory",
            f"the training data take about {format_size(needed)} as arrays, and there are"
            f" {format_size(room)}",
            hint="Fewer samples, smaller ones; or an estimator with partial_fit, and max_epochs.",
        )


def room_on(device: str) -> int | None:
    """The bytes of memory of a device; None where that is not known."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    if device != "cpu":
        return None
    machine = environment.memory()
    known = [each for each in (machine["total"], machine["limit"]) if each is not None]
    return min(known, default=None)


def disk(subject: Subject) -> Iterator[Finding]:
    """The checkpoints that a run keeps, and the room for them."""
    one, kept = subject.trial.checkpoint, _kept(subject)
    folder = existing(subject.plan.settings.artifacts)
    free = shutil.disk_usage(folder).free
    if one * (kept + _BESIDE) <= free:
        return
    size = f"a checkpoint takes about {format_size(one)}"
    there = f"{format_size(free)} are free in {folder}"
    if one > free:
        yield error("disk", f"{size}, and {there}: not one can be saved")
    else:
        yield warning(
            "disk",
            f"{size}, and {kept} are kept beside the best: {there}",
            hint='Make room, or keep fewer: "checkpoint": {"keep": …} in the hparams.',
        )


def _kept(subject: Subject) -> int:
    hparams = subject.plan.hparams
    every = [*listed(hparams.trainer.init.get("callbacks")), *subject.configuration.callbacks]
    policy = next((each for each in every if isinstance(each, RunCheckpoint)), None)
    own = policy.keep if policy is not None else None
    return own or hparams.checkpoint.keep or subject.plan.settings.keep_checkpoints


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())
