"""Why training ends: which limit is reached, and who asked for an end.

Lightning keeps no more than a flag, and takes any StopIteration for the end of the data. A property
in the flag's place sees who sets it, and the loops see where a StopIteration was raised.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer
from pytorch_lightning.core.hooks import DataHooks, ModelHooks
from pytorch_lightning.loops.fetchers import _DataFetcher, _DataFetcherWrapper
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from torch_lab.utils.tracebacks import is_user_file

_WITH_HOOKS = (pl.Callback, ModelHooks, DataHooks)
_DEPTH = 12  # frames between a hook and the helper of its own that stops the trainer


@dataclass(frozen=True)
class Stop:
    """Who asked for training's end, and why if that is said."""

    by: str
    why: str | None = None

    def __str__(self) -> str:
        return self.by if self.why is None else f"{self.by}: {self.why}"


class Trainer(pl.Trainer):
    """Lightning's, which knows who has set `should_stop`."""

    _should_stop = False
    _asker: Stop | tuple[Any, str] | None = None

    @property
    def should_stop(self) -> bool:
        """Whether training is to end as soon as its minimum is done."""
        return self._should_stop

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        if not value:
            self._asker = None
        elif not self._should_stop:
            self._asker = _asking(sys._getframe(1))
        self._should_stop = bool(value)

    def stopped_by(self) -> Stop | None:
        """Who set it, and what they say of it by now."""
        asker = self._asker
        return asker if asker is None or isinstance(asker, Stop) else _told(*asker)

    def was_stopped_by(self, stop: Stop | None) -> None:
        """Remember who set it before the run was cut."""
        if self._should_stop:
            self._asker = stop


def _asking(frame: FrameType | None) -> tuple[Any, str]:
    """The hook that sets the flag, perhaps through a function of its own; else that function."""
    frames: list[FrameType] = []
    while frame is not None and len(frames) < _DEPTH:
        frames.append(frame)
        frame = frame.f_back
    owners = [each.f_locals.get("self") for each in frames]
    owner = next((each for each in owners if isinstance(each, _WITH_HOOKS)), None)
    if owner is None:
        return None, _name(frames[0]) if frames else "a callback"
    hook = [code for code, each in zip(frames, owners, strict=True) if each is owner][-1]
    return owner, f"{type(owner).__qualname__}.{hook.f_code.co_name}"


def _told(owner: Any, name: str) -> Stop:
    if isinstance(owner, EarlyStopping):
        text = (owner.stopping_reason_message or "").removesuffix("Signaling Trainer to stop.")
        return Stop(type(owner).__qualname__, text.strip().rstrip(".") or None)
    if isinstance(owner, Timer):
        return Stop(type(owner).__qualname__, "max_time is up")
    return Stop(name)


def ending_of(error: StopIteration, module: pl.LightningModule) -> Stop | None:
    """Who ended an epoch, or training, with a StopIteration; None if the data were at their end."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    owners = (frame.f_locals.get("self") for frame in frames)
    if any(isinstance(owner, (_DataFetcher, _DataFetcherWrapper)) for owner in owners):
        return None
    if frames[-1].f_code is _TrainingEpochLoop.advance.__code__:
        return Stop(f"{type(module).__qualname__}.on_train_batch_start", "it returned -1")
    own = next((frame for frame in frames if is_user_file(frame.f_code.co_filename)), frames[-1])
    return Stop(_name(own), "it raised StopIteration")


def _name(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} in {Path(frame.f_code.co_filename).name}"


def step_limit(trainer: pl.Trainer) -> str | None:
    """The limit of steps, where it is reached."""
    reached = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
    return f"max_steps={trainer.max_steps}" if reached else None


def stop_in_force(trainer: pl.Trainer) -> Stop | None:
    """Who asked for the end, where the minimum of epochs and steps allows it."""
    if not (isinstance(trainer, Trainer) and trainer.should_stop):
        return None
    return trainer.stopped_by() if trainer.fit_loop._can_stop_early else None


def epochs_done(trainer: pl.Trainer) -> int:
    """How many epochs the loop takes for done."""
    current: Any = trainer.fit_loop.epoch_progress.current
    return int(current.processed)
