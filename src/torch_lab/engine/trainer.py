"""The Trainer of a run: defaults, hparams over them, callbacks in one order."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.loggers.logger import Logger

from torch_lab.callbacks import EpochProgress, NanMonitor, RunCheckpoint
from torch_lab.engine import lightning
from torch_lab.engine.plugins import NoProfiler, SafeCheckpointIO
from torch_lab.engine.savepoints import SavePoints
from torch_lab.errors import ConfigurationError, UsageError

_OWN = (EpochProgress, NanMonitor, RunCheckpoint, SavePoints)


def check_gpus(gpus: Sequence[int] | None) -> None:
    """Refuse GPUs that this machine doesn't have."""
    if gpus is None:
        return
    count = torch.cuda.device_count()
    missing = [str(gpu) for gpu in gpus if gpu >= count]
    if missing:
        has = "no GPU" if count == 0 else f"GPUs 0 to {count - 1}" if count > 1 else "only GPU 0"
        raise UsageError(f"there is no GPU {', '.join(missing)}: this machine has {has}")


def build(
    init: Mapping[str, Any],
    callbacks: Sequence[pl.Callback],
    *,
    directory: Path,
    logger: Logger | None,
    savepoints: SavePoints | None = None,
    gpus: Sequence[int] | None = None,
    trust: bool = False,
) -> pl.Trainer:
    """A Trainer from `trainer.init` of the hparams and what torch-lab itself adds.

    Callbacks run in this order: those of `trainer.init`, the configuration's, NanMonitor,
    RunCheckpoint, EpochProgress, and last the save points, which see what all others did.
    """
    kwargs = dict(init)
    check_gpus(gpus)
    if gpus is not None:
        kwargs |= {"accelerator": "gpu", "devices": list(gpus)}
    every = [*listed(kwargs.pop("callbacks", None)), *callbacks]
    if kwargs.pop("enable_progress_bar", True) and not _any(every, ProgressBar):
        every.append(EpochProgress())
    if savepoints is not None:
        every.append(savepoints)
    lightning.skip_idle_hooks(each for each in every if isinstance(each, _OWN))
    kwargs.setdefault("enable_model_summary", False)
    kwargs.setdefault("default_root_dir", directory)
    kwargs["enable_checkpointing"] = _any(every, Checkpoint)
    kwargs["profiler"] = kwargs.get("profiler") or NoProfiler()
    kwargs["plugins"] = _plugins(kwargs.get("plugins"), trust)
    kwargs["logger"] = _loggers(logger, kwargs.get("logger"))
    with _refusals():
        trainer = pl.Trainer(
            **kwargs,
            callbacks=every,
            enable_progress_bar=_any(every, ProgressBar),
        )
    if savepoints is not None:
        _refuse_spawning(trainer, init.get("strategy", "auto"))
        savepoints.attach(trainer)
    return trainer


@contextmanager
def _refusals() -> Iterator[None]:
    """Values that Lightning's Trainer doesn't take, as the mistakes in hparams that they are."""
    try:
        yield
    except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
        raise ConfigurationError(f"trainer.init: {str(error).strip()}") from error


def _refuse_spawning(trainer: pl.Trainer, asked: object) -> None:
    if lightning.spawns_ranks(trainer):
        raise ConfigurationError(
            f"trainer.init.strategy: {asked!r} spawns its processes, which can't take over the"
            " run's open journal and lock",
            hint='Use "ddp" instead: its processes start by themselves.',
        )


def _any(callbacks: Sequence[pl.Callback], kind: type) -> bool:
    return any(isinstance(each, kind) for each in callbacks)


def listed(value: Any) -> list[Any]:
    """What Lightning takes as one or as several, as several."""
    if value is None or value is False:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _loggers(own: Logger | None, users: Any) -> Any:
    """Ours first, beside the user's own; none at all where nothing is to be recorded."""
    if own is None:
        return False
    return [own, *(each for each in listed(users) if each is not True)]


def _plugins(users: Any, trust: bool) -> list[Any]:
    plugins = [*listed(users), SafeCheckpointIO(trust=trust)]
    if SLURMEnvironment.detect() and not _any(plugins, SLURMEnvironment):
        plugins.append(SLURMEnvironment(auto_requeue=False))  # else it saves inside a handler
    return plugins


_TALKATIVE = ("pytorch_lightning", "lightning.fabric", "lightning_fabric")
_POINTLESS = (
    r".*LeafSpec",  # Lightning's own use of torch that is out of date
    r"Checkpoint directory .* exists and is not empty",  # a run's own, when it is resumed
    r"You requested to overfit",  # as --dev-run does
    r"The number of training batches .* is smaller than the logging interval",
    r"You defined a `validation_step` but have no `val_dataloader`",  # every TrainLabModule does
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's remarks on hardware and products; its warnings stay."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _POINTLESS:
                warnings.filterwarnings("ignore", text, module=r"(pytorch_lightning|lightning)\b")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
