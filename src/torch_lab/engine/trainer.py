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
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.loggers.logger import Logger

from torch_lab.callbacks import EpochProgress
from torch_lab.engine import lightning
from torch_lab.engine.plugins import SafeCheckpointIO
from torch_lab.engine.savepoints import SavePoints
from torch_lab.errors import ConfigurationError, UsageError


def check_gpus(gpus: Sequence[int] | None) -> None:
    """Refuse GPUs that this machine doesn't have."""
    if gpus is None:
        return
    count = torch.cuda.device_count()
    missing = [str(gpu) for gpu in gpus if gpu >= count]
    if missing:
        has = "no GPU" if count == 0 else f"GPUs 0 to {count - 1}" if count > 1 else "only GPU 0"
        raise UsageError(f"-g: there is no GPU {', '.join(missing)}: this machine has {has}")


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
    every = [*_listed(kwargs.pop("callbacks", None)), *callbacks]
    if kwargs.pop("enable_progress_bar", True) and not _any(every, ProgressBar):
        every.append(EpochProgress())
    if savepoints is not None:
        every.append(savepoints)
    kwargs.setdefault("enable_model_summary", False)
    kwargs.setdefault("default_root_dir", directory)
    kwargs["enable_checkpointing"] = _any(every, Checkpoint)
    kwargs["plugins"] = _plugins(kwargs.get("plugins"), trust)
    trainer = pl.Trainer(
        **kwargs | {"logger": _loggers(logger, kwargs.pop("logger", None))},
        callbacks=every,
        enable_progress_bar=_any(every, ProgressBar),
    )
    if savepoints is not None:
        _refuse_spawning(trainer)
        savepoints.attach(trainer)
    return trainer


def _refuse_spawning(trainer: pl.Trainer) -> None:
    if lightning.spawns_ranks(trainer):
        raise ConfigurationError(
            f"strategy {type(trainer.strategy).__name__} spawns its processes, which can't take"
            " over the run's open journal and lock",
            hint='Use trainer.init.strategy "ddp": its processes start by themselves.',
        )


def _any(callbacks: Sequence[pl.Callback], kind: type) -> bool:
    return any(isinstance(each, kind) for each in callbacks)


def _listed(value: Any) -> list[Any]:
    if value is None or value is False:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _loggers(own: Logger | None, users: Any) -> Any:
    """Ours first, beside the user's own; True and False speak of Lightning's default one."""
    others = [each for each in _listed(users) if each is not True]
    return [own, *others] if own is not None else others or False


def _plugins(users: Any, trust: bool) -> list[Any]:
    plugins = [*_listed(users), SafeCheckpointIO(trust=trust)]
    if SLURMEnvironment.detect() and not _any(plugins, SLURMEnvironment):
        plugins.append(SLURMEnvironment(auto_requeue=False))  # else it saves inside a handler
    return plugins


_TALKATIVE = ("pytorch_lightning", "lightning.fabric", "lightning_fabric")
_POINTLESS = (
    r".*LeafSpec",  # Lightning's own use of torch that is out of date
    r"Checkpoint directory .* exists and is not empty",  # a run's own, when it is resumed
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
