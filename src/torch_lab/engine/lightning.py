"""Every touch of Lightning's private parts, and why each is needed.

Lightning's fit loop has no hook at which a batch is finished for good: its last callback hook
comes before the module's own, and before the batch counts as completed. A checkpoint made there
resumes wrong. The loops below call `Boundary.reached` when nothing of a batch is left to do, and
start again from such a point without Lightning's guesses about how far a hook had come.
tests/engine/test_boundaries.py fails when one of these touches stops fitting.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.data import _set_sampler_epoch
from pytorch_lightning.callbacks import BatchSizeFinder, LearningRateFinder
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loops.fetchers import _DataFetcher
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.loops.loop import _Loop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.trainer.call import _call_setup_hook
from pytorch_lightning.trainer.connectors.logger_connector.result import (
    _Metadata,
    _ResultMetric,
    _Sync,
)
from pytorch_lightning.tuner import lr_finder


class Boundary(Protocol):
    """What the loops tell: a batch is done, or training is about to go on from a checkpoint."""

    def reached(self, *, epoch_end: bool) -> None:
        """Everything that belongs to the batches so far has happened."""

    def resuming(self) -> bool:
        """Whether the state just loaded was saved at such a point."""

    def going_on(self) -> None:
        """Lightning has set itself up; the next thing to run is what followed the save."""

    def ending(self) -> None:
        """Training has reached its planned end; the hooks that say so come next."""

    def ended_with_other_weights(self) -> None:
        """Hooks at training's end have changed the module after its last boundary."""


class _Epoch(_TrainingEpochLoop):
    boundary: Boundary
    as_it_stands = False
    goes_on = False
    _takes_index: bool | None = None

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        # A resumed run has made its iterator before its random state was restored, and from data
        # that may look at what hooks have changed. Loaders that know their place keep it.
        if self.goes_on and not (self.batch_progress.current.ready and _keeps_place(data_fetcher)):
            vars(data_fetcher).get("batches", []).clear()  # fetched ahead
            iter(data_fetcher)
        self.goes_on = False
        super().on_run_start(data_fetcher)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        super().on_advance_end(data_fetcher)
        if not self.done:  # else the epoch's end follows, which is the boundary
            self.boundary.reached(epoch_end=False)

    def _build_kwargs(
        self, kwargs: OrderedDict[str, Any], batch: Any, batch_idx: int
    ) -> OrderedDict[str, Any]:
        # Lightning inspects training_step's signature at every batch: 10 microseconds.
        if self._takes_index is None:
            kwargs = super()._build_kwargs(kwargs, batch, batch_idx)
            self._takes_index = "batch_idx" in kwargs
            return kwargs
        kwargs["batch"] = batch
        if self._takes_index:
            kwargs["batch_idx"] = batch_idx
        return kwargs

    def reset(self) -> None:
        self._takes_index = None
        # A mid-epoch state was saved between two batches: the counters stand as they should, and
        # both of Lightning's ways to reset would change them.
        if self.as_it_stands:
            self.as_it_stands = False
        else:
            super().reset()

    def _broadcast_sigterm_tensor(self) -> None:
        """Lightning asks all ranks at every step; the boundary asks them about once a second."""


class _Fit(_FitLoop):
    boundary: Boundary
    epoch_loop: _Epoch
    _unprepared = False

    def setup_data(self) -> None:
        super().setup_data()
        # A configure_optimizers that asks for estimated_stepping_batches has the loaders made
        # before Lightning has read their places from the checkpoint; it then forgets them.
        if self.restarting and self._combined_loader_states_to_load and self._data_fetcher:
            self._load_combined_loader_states()
            iter(self._data_fetcher)

    def reset(self) -> None:
        super().reset()
        if self.boundary.resuming():
            self.epoch_loop.as_it_stands = self.restarted_mid_epoch
            self._unprepared = True
            self._restarting = False
            for child in _children(self):
                _stop_restarting(child)

    def on_advance_start(self) -> None:
        if self._unprepared:
            self._unprepared = False
            self.boundary.going_on()
            self.epoch_loop.goes_on = True
            self._catch_up_with_reloads()
        super().on_advance_start()

    def _catch_up_with_reloads(self) -> None:
        """Make the loaders anew in the epochs in which the run that was never cut does."""
        trainer: Any = self.trainer
        epoch, every = trainer.current_epoch, trainer.reload_dataloaders_every_n_epochs
        if every and epoch % every == 0 and not in_mid_epoch(self.trainer):
            self._last_train_dl_reload_epoch = float("-inf")  # hooks may look at what has changed
        elif every:
            self._last_train_dl_reload_epoch = epoch - epoch % every

    def on_advance_end(self) -> None:
        super().on_advance_end()
        self.boundary.reached(epoch_end=True)

    def on_run_end(self) -> None:
        before = _weight_versions(self.trainer)
        self.boundary.ending()
        super().on_run_end()  # StochasticWeightAveraging, for one, puts its average in place here
        changed = _weight_versions(self.trainer) != before
        if self.trainer.strategy.reduce_boolean_decision(changed, all=False):
            self.boundary.ended_with_other_weights()


def _keeps_place(fetcher: _DataFetcher) -> bool:
    """Whether a loader goes on where it was, and would not if it were iterated anew."""
    return any(
        hasattr(each, "load_state_dict") and getattr(each, "exact", True)
        for each in fetcher.combined_loader.flattened
    )


def _weight_versions(trainer: pl.Trainer) -> list[tuple[int, int, int]]:
    """Differs when a weight was written to, also where that went through `.data` and unnoticed."""
    tensors = trainer.lightning_module.state_dict(keep_vars=True).values()
    return [
        (each.data_ptr(), each._version, _checksum(each.detach()))
        for each in tensors
        if isinstance(each, torch.Tensor) and each.layout is torch.strided
    ]


def _checksum(tensor: torch.Tensor) -> int:
    if tensor.is_meta or type(tensor) is not torch.Tensor:  # sharded: no process has it all
        return 0
    return int(tensor.flatten().view(torch.uint8).sum(dtype=torch.int64))


def _children(loop: _Loop) -> list[_Loop]:
    return [each for each in vars(loop).values() if isinstance(each, _Loop)]


def _stop_restarting(loop: _Loop) -> None:
    """Past the loading, these flags make Lightning skip plateau schedulers and validations."""
    loop._restarting = False
    loop.reset_restart_stage()
    for child in _children(loop):
        _stop_restarting(child)


def install_loops(trainer: pl.Trainer, boundary: Boundary) -> None:
    """Let `trainer` fit with loops that know boundaries."""
    old = trainer.fit_loop
    fit = _Fit(trainer, min_epochs=old.min_epochs, max_epochs=old.max_epochs)
    fit.epoch_loop = epoch = _Epoch(trainer, min_steps=old.min_steps, max_steps=old.max_steps)
    fit.boundary = epoch.boundary = boundary
    trainer.fit_loop = fit


_EACH_BATCH = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_validation_batch_start",
    "on_validation_batch_end",
)


def skip_idle_hooks(callbacks: Iterable[pl.Callback]) -> None:
    """Spare every batch the calls of hooks that do nothing.

    Each costs a microsecond, six times a batch; Lightning passes over a hook that isn't callable.
    """
    for callback in callbacks:
        for name in _EACH_BATCH:
            if getattr(type(callback), name) is getattr(pl.Callback, name):
                setattr(callback, name, None)


@dataclass(frozen=True)
class Finder:
    """A callback that searches: by which method, and where it puts what it finds."""

    method: str
    attribute: str  # empty: of a module's usual names for the learning rate
    updates: bool = True


def finder_of(callback: pl.Callback) -> Finder | None:
    """What kind of finder a callback is, if it is one."""
    if isinstance(callback, LearningRateFinder):
        return Finder("lr_find", callback._attr_name, callback._update_attr)
    if isinstance(callback, BatchSizeFinder):
        return Finder("scale_batch_size", callback._batch_arg_name)
    return None


@contextmanager
def search_bar_on_terminals_only() -> Iterator[None]:
    """A search for the learning rate draws a bar of its own, into pipes and files as well."""
    module: Any = lr_finder
    before = module.tqdm
    module.tqdm = partial(before, disable=None)
    try:
        yield
    finally:
        module.tqdm = before


def tell_epoch(trainer: pl.Trainer) -> None:
    """Let the training loaders know the epoch again; a search at its start counts on from there."""
    combined = trainer.fit_loop._combined_loader
    for loader in combined.flattened if combined is not None else ():
        _set_sampler_epoch(loader, trainer.current_epoch)


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


def spawns_ranks(trainer: pl.Trainer) -> bool:
    """Whether the strategy would pickle the trainer and what hangs on it into new processes."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def batches_done(trainer: pl.Trainer) -> int:
    """How many training batches have been handled, over all epochs."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready


def logged_step(trainer: pl.Trainer) -> int:
    """The step that Lightning gives its loggers with what is logged now."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def in_mid_epoch(trainer: pl.Trainer) -> bool:
    """Whether an epoch has begun and not ended."""
    progress = trainer.fit_loop.epoch_progress.total
    return progress.ready > progress.completed


def accumulating(trainer: pl.Trainer) -> bool:
    """Whether gradients wait for more batches before the optimizer steps."""
    return in_mid_epoch(trainer) and trainer.fit_loop._should_accumulate()


# What self.log() has summed up so far in this epoch, and the values callbacks and schedulers
# monitor. Lightning keeps neither in its checkpoints.

_META = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph")
_META_MORE = ("add_dataloader_idx", "dataloader_idx", "metric_attribute")


def logged_state(trainer: pl.Trainer) -> dict[str, Any]:
    """Running sums of self.log, and the latest metrics, as plain data."""
    connector = trainer._logger_connector
    sums = {
        key: _result_state(result)
        for key, result in trainer.fit_loop.epoch_loop._results.items()
        if in_mid_epoch(trainer)
    }
    return {
        "sums": sums,
        "callback_metrics": _on_cpu(connector._callback_metrics),
        "logged_metrics": _on_cpu(connector._logged_metrics),
    }


def _on_cpu(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value
        for name, value in metrics.items()
    }


def _result_state(result: _ResultMetric) -> dict[str, Any]:
    meta = {name: getattr(result.meta, name) for name in (*_META, *_META_MORE)}
    meta["reduce_fx"] = result.meta.reduce_fx.__name__
    sync = {"should": result.meta.sync.should, "rank_zero_only": result.meta.sync.rank_zero_only}
    values = {}
    if result.is_tensor:
        values = {name: getattr(result, name).detach().cpu().clone() for name in result._defaults}
    return {
        "meta": meta,
        "sync": sync,
        "values": values,
        "updates": result._update_count,
        "has_reset": result.has_reset,
        # Lightning logs this again at steps that don't log the key themselves.
        "latest": _on_cpu({"": result._forward_cache})[""] if result.is_tensor else None,
    }


def restore_logged_state(trainer: pl.Trainer, state: Mapping[str, Any]) -> None:
    """The reverse of `logged_state`, in a trainer that is about to go on."""
    connector = trainer._logger_connector
    for metrics, saved in (
        (connector._callback_metrics, state["callback_metrics"]),
        (connector._logged_metrics, state["logged_metrics"]),
    ):
        metrics.clear()
        metrics.update(saved)
    if not in_mid_epoch(trainer):
        return
    # Lightning empties the sums when an epoch's first batch logs; this isn't the first.
    connector._first_loop_iter = True
    for key, saved in state["sums"].items():
        trainer.fit_loop.epoch_loop._results[key] = _restored_result(trainer, saved)


def _restored_result(trainer: pl.Trainer, saved: Mapping[str, Any]) -> _ResultMetric:
    meta = _Metadata(**saved["meta"])
    sync = saved["sync"]
    meta.sync = _Sync(
        _should=sync["should"],
        fn=trainer.strategy.reduce,
        rank_zero_only=sync["rank_zero_only"],
    )
    attribute = meta.metric_attribute
    result = _ResultMetric(meta, is_tensor=attribute is None)
    if attribute is not None:
        result.value = trainer.lightning_module.get_submodule(attribute)
    for name, value in saved["values"].items():
        setattr(result, name, value)
    result._update_count = saved["updates"]
    result.has_reset = saved["has_reset"]
    result._forward_cache = saved["latest"]
    return result.to(trainer.lightning_module.device)


@dataclass(frozen=True)
class Step:
    """The batch that a loop was working on, or was about to get (`batch` None)."""

    batch: Any
    index: int
    loader: int = 0


def step_of(error: BaseException) -> Step | None:
    """The batch under way where `error` was raised; None between batches.

    The loops' counters don't tell: they stand alike in an epoch's last batch and in its end hooks.
    """
    for code, names in reversed(_frames(error)):
        owner = names.get("self")
        if isinstance(owner, _DataFetcher):
            return Step(None, owner.fetched)
        if isinstance(owner, _Loop) and code in _STEPS and "batch_idx" in names:
            return Step(names.get("batch"), names["batch_idx"], names.get("dataloader_idx", 0))
    return None


def in_a_loop(error: BaseException) -> bool:
    """Whether `error` came up while batches were handled, or at such a loop's ends."""
    return any(isinstance(names.get("self"), _Loop) for _, names in _frames(error))


def _frames(error: BaseException) -> list[tuple[str, dict[str, Any]]]:
    return [(f.f_code.co_name, f.f_locals) for f, _ in walk_tb(error.__traceback__)]


_STEPS = ("advance", "_evaluation_step", "_predict_step")
