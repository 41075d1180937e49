"""The loops of fit, with a point at which a batch is finished for good.

Lightning's fit loop has no hook for it: its last callback hook comes before the module's own, and
before the batch counts as completed. A checkpoint made there resumes wrong. These loops call
`Boundary.reached` when nothing of a batch is left to do, and start again from such a point without
Lightning's guesses about how far a hook had come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.fetchers import _DataFetcher
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.loops.loop import _Loop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from torch_lab.engine.lightning.accumulation import Optimization
from torch_lab.engine.lightning.counting import follow_loaders, put_back_what_is_ahead
from torch_lab.engine.lightning.progress import in_mid_epoch


class Accounts(Protocol):
    """What the loops tell of epochs."""

    def epoch_begins(self) -> None:
        """The batches of an epoch, or what a cut has left of them, come next."""

    def epoch_is_over(self) -> None:
        """Nothing of the epoch is left but the hooks of its end."""

    def given_up(self, error: StopIteration) -> None:
        """Lightning takes this for the epoch's end, or for training's."""


class Boundary(Protocol):
    """What the loops tell: a batch is done, or training is about to go on from a checkpoint."""

    @property
    def accounts(self) -> Accounts:
        """Hears of epochs."""

    def reached(self, *, epoch_end: bool) -> None:
        """Everything that belongs to the batches so far has happened."""

    def resuming(self) -> bool:
        """Whether the state just loaded was saved at such a point."""

    def going_on(self) -> None:
        """Lightning has set itself up; the next thing to run is what followed the save."""

    def ending(self) -> None:
        """Training has reached its planned end; the hooks that say so come next."""

    def end_is_due(self) -> bool:
        """Whether a resumed run has the hooks of training's end still to come."""

    def has_recorded_at_end(self) -> bool:
        """Whether those hooks have recorded anything."""

    def ended(self, *, changed: bool) -> None:
        """They are done, and have `changed` the module or the record after the last boundary."""

    def remark(self, text: str) -> None:
        """Something that people may want to know of how this run is trained."""


class _Epoch(_TrainingEpochLoop):
    boundary: Boundary
    automatic_optimization: Optimization
    as_it_stands = False
    goes_on = False
    advanced = 0  # batches of this epoch that this process has gone through
    _takes_index: bool | None = None

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        self.automatic_optimization.begin_epoch()
        # A resumed run has made its iterator before its random state was restored, and from data
        # that may look at what hooks have changed. Loaders that know their place keep it.
        if self.goes_on and not (self.batch_progress.current.ready and _keeps_place(data_fetcher)):
            vars(data_fetcher).get("batches", []).clear()  # fetched ahead
            iter(data_fetcher)
        self.goes_on = False
        super().on_run_start(data_fetcher)
        follow_loaders(data_fetcher)
        self.advanced = 0
        self.boundary.accounts.epoch_begins()

    def advance(self, data_fetcher: _DataFetcher) -> None:
        try:
            super().advance(data_fetcher)
        except StopIteration as error:
            self.boundary.accounts.given_up(error)
            raise
        self.advanced += 1

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        try:
            super().on_advance_end(data_fetcher)
        except StopIteration as error:
            self.boundary.accounts.given_up(error)
            raise
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

    @property
    def skip(self) -> bool:
        # Lightning passes over a training that has nothing left to do, its last hooks too, in
        # which averages are put in place and results written.
        if self.boundary.end_is_due():
            return bool(self.trainer.limit_train_batches == 0)
        return bool(super().skip)

    def setup_data(self) -> None:
        super().setup_data()
        # A configure_optimizers that asks for estimated_stepping_batches has the loaders made
        # before Lightning has read their places from the checkpoint; it then forgets them.
        if self.restarting and self._combined_loader_states_to_load and self._data_fetcher:
            self._load_combined_loader_states()
            iter(self._data_fetcher)
        follow_loaders(self._data_fetcher)

    def on_save_checkpoint(self) -> dict[str, Any]:
        state = super().on_save_checkpoint()
        put_back_what_is_ahead(self._data_fetcher, state.get("combined_loader", []))
        return state

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
        try:
            super().on_advance_start()
        except StopIteration as error:
            self.boundary.accounts.given_up(error)
            raise

    def advance(self) -> None:
        super().advance()
        self.boundary.accounts.epoch_is_over()

    def _catch_up_with_reloads(self) -> None:
        """Make the loaders anew in the epochs in which the run that was never cut does."""
        trainer: Any = self.trainer
        epoch, every = trainer.current_epoch, trainer.reload_dataloaders_every_n_epochs
        if every and epoch % every == 0 and not in_mid_epoch(self.trainer):
            self._last_train_dl_reload_epoch = float("-inf")  # hooks may look at what has changed
        elif every:
            self._last_train_dl_reload_epoch = epoch - epoch % every

    def on_advance_end(self) -> None:
        try:
            super().on_advance_end()
        except StopIteration as error:
            self.boundary.accounts.given_up(error)
            raise
        self.boundary.reached(epoch_end=True)

    def on_run_end(self) -> None:
        if self._unprepared:
            self._unprepared = False
            self.boundary.going_on()
        before = _weight_versions(self.trainer)
        self.boundary.ending()
        super().on_run_end()  # StochasticWeightAveraging, for one, puts its average in place here
        changed = _weight_versions(self.trainer) != before or self.boundary.has_recorded_at_end()
        changed = self.trainer.strategy.reduce_boolean_decision(changed, all=False)
        self.boundary.ended(changed=changed)


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
    raw = tensor.flatten().view(torch.uint8)
    first = -raw.storage_offset() % 8
    last = first + (len(raw) - first) // 8 * 8
    if last <= first:
        return int(raw.sum(dtype=torch.int64))
    # Eight bytes at a time: one by one they would take fifty times as long.
    rest = torch.cat([raw[:first], raw[last:]]).sum(dtype=torch.int64)
    return int(raw[first:last].view(torch.int64).sum()) + int(rest)


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
    epoch.automatic_optimization = Optimization(trainer, boundary.remark)
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
