"""The Trainer of a run: defaults, hparams over them, callbacks in one order."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.strategies import FSDPStrategy

from torch_lab.callbacks import EpochProgress, NanMonitor, RunCheckpoint
from torch_lab.engine import lightning, placement, profiling
from torch_lab.engine.blame import Blame
from torch_lab.engine.plugins import NoProfiler, SafeCheckpointIO
from torch_lab.engine.ranks import Ranks
from torch_lab.engine.savepoints import SavePoints
from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.loggers import ClearMlLogger
from torch_lab.utils.launched import Launch

_OWN = (Blame, EpochProgress, NanMonitor, RunCheckpoint, SavePoints)


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
    ranks: Ranks | None = None,
    gpus: Sequence[int] | None = None,
    trust: bool = False,
    before_saving: Callable[[], None] = lambda: None,
    kind: type[lightning.Trainer] = lightning.Trainer,
) -> pl.Trainer:
    """A Trainer from `trainer.init` of the hparams and what torch-lab itself adds.

    Callbacks run in this order: one that notes where an exception came up, those of
    `trainer.init`, the configuration's, NanMonitor, RunCheckpoint, EpochProgress, and last the
    save points, which see what all others did. `before_saving` may refuse, by raising, what
    callbacks of the experiment's are about to save or delete.
    """
    kwargs = dict(init)
    _refuse_barebones(kwargs)
    check_gpus(gpus)
    if gpus is not None:
        kwargs |= {"accelerator": "gpu", "devices": list(gpus)}
    ranks = savepoints.ranks if savepoints is not None else ranks
    launch = None if ranks is None else ranks.launch
    _refuse_shards(kwargs.get("strategy"))
    kwargs = _popen(kwargs) if launch is None else placement.settle(_popen(kwargs), launch)
    blame = Blame() if ranks is None else Blame(ranks.failing)
    every = _in_order(kwargs, blame, callbacks, savepoints)
    kwargs.setdefault("enable_model_summary", False)
    kwargs.setdefault("default_root_dir", directory)
    kwargs["enable_checkpointing"] = _any(every, Checkpoint)
    kwargs["profiler"] = kwargs.get("profiler") or NoProfiler()
    before_weights = savepoints.refuse_spoiled if savepoints else lambda: None
    files = SafeCheckpointIO(
        trust=trust, before_saving=before_saving, before_weights=before_weights
    )
    kwargs["plugins"] = _plugins(kwargs.get("plugins"), files, launch)
    kwargs["logger"] = _loggers(logger, kwargs.get("logger"))
    lightning.keep_files_below(directory, listed(kwargs["logger"]))
    with _refusals(init):
        trainer = kind(
            **kwargs,
            callbacks=every,
            enable_progress_bar=_any(every, ProgressBar),
        )
    lightning.handle_no_signals(trainer)
    if ranks is not None:
        _refuse_nodes(trainer, launch)
        lightning.launch_by(trainer, ranks)
    if savepoints is not None:
        refuse_what_cannot_join(trainer, init)
        profiling.settle(trainer, directory)
        savepoints.attach(trainer)
    return trainer


def _in_order(
    kwargs: dict[str, Any],
    blame: Blame,
    callbacks: Sequence[pl.Callback],
    savepoints: SavePoints | None,
) -> list[pl.Callback]:
    """All callbacks, those of `trainer.init` taken out of `kwargs`."""
    every = [blame, *listed(kwargs.pop("callbacks", None)), *callbacks]
    if kwargs.pop("enable_progress_bar", True) and not _any(every, ProgressBar):
        every.append(EpochProgress())
    if savepoints is not None:
        every.append(savepoints)
    lightning.skip_idle_hooks(each for each in every if isinstance(each, _OWN))
    return every


@contextmanager
def _refusals(init: Mapping[str, Any]) -> Iterator[None]:
    """Values that Lightning's Trainer doesn't take, as the mistakes in hparams that they are."""
    try:
        yield
    except (ImportError, RuntimeError, TypeError, ValueError, MisconfigurationException) as error:
        text = str(error).strip()
        mentioned = [key for key in init if key in text.lower()]
        first = min(mentioned, key=lambda key: (text.lower().find(key), -len(key)), default=None)
        where = "trainer.init" if first is None else f"trainer.init.{first}"
        raise ConfigurationError(f"{where}: {text}") from error


def _refuse_barebones(init: Mapping[str, Any]) -> None:
    if init.get("barebones"):
        raise ConfigurationError(
            "trainer.init.barebones: it forbids the callbacks and loggers that a run is kept by",
            hint="Leave it out; a step's overhead without a profiler is small.",
        )


def _popen(init: Mapping[str, Any]) -> dict[str, Any]:
    """Strategies that differ only in how processes are started: those of a run always start so."""
    strategy = init.get("strategy")
    if not isinstance(strategy, str) or strategy not in _STARTED_OTHERWISE:
        return dict(init)
    return {**init, "strategy": f"ddp{strategy.removeprefix(_STARTED_OTHERWISE[strategy])}"}


_WAYS = ("ddp_spawn", "ddp_fork", "ddp_notebook")
_STARTED_OTHERWISE = {
    f"{way}{more}": way
    for way in _WAYS
    for more in ("", "_find_unused_parameters_true", "_find_unused_parameters_false")
}


def refuse_what_cannot_join(trainer: pl.Trainer, init: Mapping[str, Any]) -> None:
    """Refuse processes that can't be part of one run."""
    _refuse_spawning(trainer, init.get("strategy", "auto"))


def _refuse_shards(strategy: object) -> None:
    if lightning.saves_shards(strategy):
        fix = (
            'state_dict_type="full"'
            if isinstance(strategy, FSDPStrategy)
            else "save_distributed_checkpoint=False"
        )
        raise ConfigurationError(
            f"trainer.init.strategy: {type(strategy).__name__} would save each process's part of"
            " the weights for itself, in a form that only pickle reads",
            hint=f"Let it save the whole: {type(strategy).__name__}({fix}).",
        )


def _refuse_spawning(trainer: pl.Trainer, asked: object) -> None:
    if lightning.spawns_ranks(trainer):
        name = asked if isinstance(asked, str) else type(asked).__name__
        raise ConfigurationError(
            f"trainer.init.strategy: {name} spawns its processes, which can't take over the"
            " run's open journal and lock",
            hint='Use "ddp" instead: its processes start by themselves.',
        )


def _refuse_nodes(trainer: pl.Trainer, launch: Launch | None) -> None:
    if trainer.num_nodes > 1 and launch is None:
        raise ConfigurationError(
            f"trainer.init.num_nodes: {trainer.num_nodes} machines, but this command was started by"
            " itself, on one",
            hint=f"torchrun starts it on each: torchrun --nnodes {trainer.num_nodes}"
            " --nproc-per-node gpu --rdzv-backend c10d --rdzv-endpoint HOST:29400 -m torch_lab"
            f" train …; in a Slurm job: srun --nodes {trainer.num_nodes} train …",
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
    # A ClearMlLogger hands on to the record what ours has put there already.
    added = (e for e in listed(users) if e is not True and not isinstance(e, ClearMlLogger))
    return [own, *added]


def _plugins(users: Any, files: SafeCheckpointIO, launch: Launch | None) -> list[Any]:
    plugins = [*listed(users), files]
    if launch is not None:
        if not _any(plugins, ClusterEnvironment):
            plugins.append(placement.Launched(placement.seen_from_here(launch)))
        return plugins
    if os.environ.get("SLURM_NTASKS") == "1" and not _any(plugins, ClusterEnvironment):
        # Taken for Slurm's only task it would train on one device, however many were asked for.
        plugins.append(LightningEnvironment())
    return plugins


_REPORTS = "pytorch_lightning.profilers.profiler"  # of profilers that write to no file
_TALKATIVE = ("pytorch_lightning", "lightning.fabric", "lightning_fabric")
_POINTLESS = (
    r".*LeafSpec",  # Lightning's own use of torch that is out of date
    r"Checkpoint directory .* exists and is not empty",  # a run's own, when it is resumed
    r"You requested to overfit",  # as --dev-run does
    # A run keeps its checkpoints itself; those of torch-lab 1.x were kept by a ModelCheckpoint.
    r"Be aware that when using `ckpt_path`, .*following callbacks:"
    r" \[\"\w*ModelCheckpoint{[^\"]*\"\]",
    r"The number of training batches .* is smaller than the logging interval",
    r"You defined a `validation_step` but have no `val_dataloader`",  # every TrainLabModule does
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's remarks on hardware and products; its warnings stay."""
    loggers = [logging.getLogger(name) for name in (*_TALKATIVE, _REPORTS)]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.INFO if each.name == _REPORTS else logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _POINTLESS:
                warnings.filterwarnings("ignore", text, module=r"(pytorch_lightning|lightning)\b")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
