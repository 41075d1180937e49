"""Where in a run an exception came up, told in notes that its traceback shows at the end.

Everything is found out when an exception is there: steps that succeed pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from traceback import walk_tb
from typing import Any

import pytorch_lightning as pl

from torch_lab.callbacks import samples as naming
from torch_lab.engine import lightning, outofmemory
from torch_lab.engine.ranks import RankFailed
from torch_lab.errors import CheckpointError, RunError, StoreError, TorchLabError, WorkerFailed

_IN_ITSELF_CLEAR = (RankFailed, RunError, StoreError, CheckpointError)
_HOOKS = frozenset(
    name for name in vars(pl.Callback) if name.startswith("on_") or name in ("setup", "teardown")
)
_STAGES = {
    "train": "training",
    "validate": "validation",
    "test": "testing",
    "predict": "prediction",
}

_DEATHS = ("DataLoader worker (pid(s)", "is killed by signal")  # torch, of a worker that is gone
_BASELINE = (
    'This baseline comes before fit; "validate": None in "trainer", in the hyperparameters, leaves'
    " it out."
)
_DIED = (
    "A loader worker was killed from outside, as the system does where memory runs out: try fewer"
    " num_workers, or a dataset that keeps less. With num_workers=0 the error itself would show."
)


class Blame(pl.Callback):
    """Tells an exception the callback, stage, epoch, batch and samples that it came up in.

    It is the first to hear of one, and tells `failing` before others do anything about it.
    """

    def __init__(self, failing: Callable[[BaseException], None] = lambda _: None) -> None:
        self._failing = failing

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Add the notes, once."""
        clear = isinstance(exception, _IN_ITSELF_CLEAR) and not isinstance(exception, WorkerFailed)
        if isinstance(exception, Exception) and not clear:
            self._add_notes(trainer, pl_module, exception)
        self._failing(exception)

    @staticmethod
    def _add_notes(
        trainer: pl.Trainer, pl_module: pl.LightningModule, exception: Exception
    ) -> None:
        try:
            notes = list(_notes(trainer, pl_module, exception))
        except Exception:  # noqa: BLE001 - any: on a device that failed even reading an index fails
            return
        told = getattr(exception, "__notes__", ())
        for note in notes:
            if note not in told:
                exception.add_note(note)


def _notes(trainer: pl.Trainer, module: pl.LightningModule, error: Exception) -> Iterator[str]:
    hook = _hook(error)
    if hook is not None:
        yield f"in callback {hook}"
    step = lightning.step_of(error)
    if step is None and isinstance(error, TorchLabError):
        return  # of a whole epoch, as it says itself
    if lightning.in_a_loop(error):
        yield f"in {_place(trainer, step)}"
    if hook is not None and trainer.state.fn == "validate":
        yield _BASELINE
    if any(text in str(error) for text in _DEATHS):
        yield _DIED
    if outofmemory.is_meant_by(error):
        yield outofmemory.explanation(trainer, module, step.batch if step else None)


def _hook(error: Exception) -> str | None:
    """The callback's hook that led to the exception, if one did."""
    for frame, _ in walk_tb(error.__traceback__):
        code = frame.f_code
        owner = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        ours = type(owner).__module__.startswith("torch_lab.engine.")  # nobody has added these
        if isinstance(owner, pl.Callback) and code.co_name in _HOOKS and not ours:
            return f"{type(owner).__name__}.{code.co_name}"
    return None


def _place(trainer: pl.Trainer, step: lightning.Step | None) -> str:
    stage = trainer.state.stage.value if trainer.state.stage is not None else ""
    fitting = trainer.state.fn == "fit"
    name = _STAGES.get(stage, "the sanity check")
    if stage == "validate" and not fitting:
        name = "validation before training"
    epoch = trainer.current_epoch if fitting else None
    if step is None:
        return f"{name}{_between(trainer, epoch)}"
    more = f", dataloader {step.loader}" if step.loader else ""
    return f"{name}, {naming.place(epoch, step.index, samples_of(trainer, step))}{more}"


def _between(trainer: pl.Trainer, epoch: int | None) -> str:
    """The epoch, where no batch is under way."""
    if epoch is None or (epoch == 0 and not lightning.in_mid_epoch(trainer)):
        return ""
    return f", epoch {epoch + 1}" if lightning.in_mid_epoch(trainer) else f", after epoch {epoch}"


def samples_of(trainer: pl.Trainer, step: lightning.Step) -> Any:
    """Which ones are in the batch; while one is being loaded, its own note tells them."""
    if step.batch is None:
        return None
    stage = trainer.state.stage.value if trainer.state.stage is not None else ""
    told = naming.told(step.batch)
    return naming.drawn(_loaders(trainer, stage), step.index, step.loader) if told is None else told


def _loaders(trainer: pl.Trainer, stage: str) -> Any:
    if stage == "train":
        return [trainer.train_dataloader]  # several give a batch together
    if stage == "test":
        return trainer.test_dataloaders
    return trainer.predict_dataloaders if stage == "predict" else trainer.val_dataloaders
