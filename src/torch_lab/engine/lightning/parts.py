"""Lightning's own choices of checkpoints, folders and processes, as a run needs them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.trainer.call import _call_setup_hook


@contextmanager
def no_checkpoint_of_its_own_choice(trainer: pl.Trainer) -> Iterator[None]:
    """Left alone, a fit from nothing begins with what an OnExceptionCheckpoint left some day."""
    connector = trainer._checkpoint_connector
    connector._user_managed = True
    try:
        yield
    finally:
        connector._user_managed = False


_WITH_FOLDERS = (CSVLogger, TensorBoardLogger, WandbLogger)


def keep_files_below(directory: Path, loggers: Iterable[Logger]) -> None:
    """Let Lightning's loggers that were given a relative folder make it in `directory`.

    They have no public way to say where else: each keeps its folder to itself.
    """
    for each in loggers:
        folder = str(each.save_dir) if isinstance(each, _WITH_FOLDERS) else "/"
        if not Path(folder).is_absolute() and "://" not in folder:
            for name in ("_root_dir", "_save_dir"):
                if hasattr(each, name):
                    setattr(each, name, str(directory / folder))
            if isinstance(each, WandbLogger):
                each._wandb_init["dir"] = str(directory / folder)


def is_setting_up() -> bool:
    """Whether the property that calls this is looked at by Lightning's setup and nobody else.

    It has every logger make its experiment; importing TensorBoard for nothing takes longer than
    all else that happens there.
    """
    return sys._getframe(2).f_code is _call_setup_hook.__code__


def shards(trainer: pl.Trainer) -> bool:
    """Whether the strategy spreads a model's weights over the processes."""
    return isinstance(trainer.strategy, (FSDPStrategy, ModelParallelStrategy))


def saves_shards(strategy: object) -> bool:
    """Whether it would save them as they are spread, in a folder that only pickle reads."""
    if isinstance(strategy, FSDPStrategy):
        return strategy._state_dict_type == "sharded"
    return isinstance(strategy, ModelParallelStrategy) and strategy._save_distributed_checkpoint


def spawns_ranks(trainer: pl.Trainer) -> bool:
    """Whether the strategy would pickle the trainer and what hangs on it into new processes."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)
