"""crash.ckpt: what an exception in training left behind, to look at and never to go on from.

A step that failed may have changed half of the weights. So this is no training state: it says what
was being done, and loads as weights alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy

from torch_lab.callbacks.nan import spoiled
from torch_lab.checkpoints.keeper import SavePoint
from torch_lab.engine import blame, lightning, state
from torch_lab.engine.ranks import RankFailed
from torch_lab.errors import NonFiniteLoss, TorchLabError
from torch_lab.modules import LabModule
from torch_lab.modules.weights import own_names
from torch_lab.store.secrets import mask_text
from torch_lab.utils.tracebacks import format_exception

FORMAT = 1


class Shelf(Protocol):
    """Where it is put; only rank 0 has one."""

    def keep_crash(self, contents: dict[str, Any], point: SavePoint) -> None:
        """Write and list it."""


def keep(
    trainer: pl.Trainer, module: pl.LightningModule, error: BaseException, shelf: Shelf
) -> None:
    """Write crash.ckpt if `error` is one to look into; without asking other ranks, and whatever
    comes of it, without hiding the error."""
    try:
        if _is_worth_it(trainer, error) and not spoiled(module):
            shelf.keep_crash(_contents(trainer, module, error), _point(trainer))
    except Exception as second:  # noqa: BLE001 - any: on a device that failed nothing can be read
        error.add_note(f"crash.ckpt could not be written: {second}")


def _is_worth_it(trainer: pl.Trainer, error: BaseException) -> bool:
    """Mistakes and full disks explain themselves; signals come between steps."""
    if not isinstance(error, Exception):
        return False
    if isinstance(error, TorchLabError) and not isinstance(error, NonFiniteLoss):
        return False
    # Sharded weights can't be gathered while other ranks don't take part.
    alone = type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)
    return alone and trainer.state.fn == "fit" and lightning.in_a_loop(error)


def _contents(
    trainer: pl.Trainer, module: pl.LightningModule, error: BaseException
) -> dict[str, Any]:
    contents = {
        "state_dict": own_names(module.state_dict()),
        "optimizer_states": [each.state_dict() for each in trainer.optimizers],
        "lr_schedulers": [each.scheduler.state_dict() for each in trainer.lr_scheduler_configs],
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "crash": {
            "format": FORMAT,
            "exception": mask_text(format_exception(error)),
            "random": state.random_state(module.device),
            **dict(_moment(trainer, error)),
        },
    }
    if isinstance(module, LabModule):
        LabModule.on_save_checkpoint(module, contents)  # not what a subclass makes of it
    return contents


def _moment(trainer: pl.Trainer, error: BaseException) -> Iterator[tuple[str, Any]]:
    """What was being done: the batch is counted within its epoch, from 0."""
    stage = trainer.state.stage
    yield "stage", stage.value if stage is not None else None
    if isinstance(error, NonFiniteLoss):  # of an earlier batch than the one under way
        yield from {"batch": error.batch, "samples": error.samples}.items()
    elif isinstance(error, Exception):
        step = lightning.step_of(error)
        yield "batch", step.index if step else None
        elsewhere = isinstance(error, RankFailed)  # whose batch held other samples
        yield "samples", blame.samples_of(trainer, step) if step and not elsewhere else None


def _point(trainer: pl.Trainer) -> SavePoint:
    batch = lightning.batches_done(trainer)
    return SavePoint(batch, trainer.global_step, trainer.current_epoch, {})
