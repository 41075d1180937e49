"""How the checkpoint of a boundary is made: gathered by Lightning, and written, or held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol

import pytorch_lightning as pl

from torch_lab.callbacks import RunCheckpoint
from torch_lab.checkpoints.files import encoded, write_draft
from torch_lab.checkpoints.keeper import SavePoint
from torch_lab.engine import lightning
from torch_lab.engine.accounts import Accounts
from torch_lab.engine.thrift import Thrift
from torch_lab.errors import SaveFailed, TorchLabError


class Saver(Protocol):
    """What becomes of a checkpoint; on ranks other than 0, and in bare use, nothing does."""

    def path(self, batch: int) -> Any:
        """Where the checkpoint of `batch` belongs."""

    def finish(self, draft: Any, point: SavePoint) -> None:
        """Publish what was written."""

    def keep_crash(self, contents: dict[str, Any], point: SavePoint) -> None:
        """Write what an exception left behind."""

    def raise_if_failed(self) -> None:
        """Raise a failure of an earlier `finish`."""

    def wait(self) -> None:
        """Return when everything is on disk."""


class Draft:
    """Rides along with Trainer.save_checkpoint: the file is written but not yet named."""

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        self.path: Any = None

    def write(self, checkpoint: dict[str, Any], path: Any) -> None:
        """Called by the checkpoint plugin on the rank that writes."""
        if self.wanted:
            self.path = write_draft(encoded(checkpoint), path)


class Kept(Draft):
    """Rides along where nothing is written now."""

    def __init__(self) -> None:
        super().__init__(wanted=True)
        self.checkpoint: dict[str, Any] = {}

    def write(self, checkpoint: dict[str, Any], path: Any) -> None:
        """Called by the checkpoint plugin."""
        self.checkpoint = checkpoint


class Saves:
    """Makes checkpoints, and hands them to the saver, where this process has one."""

    def __init__(
        self, policy: RunCheckpoint, saver: Saver | None, accounts: Accounts, thrift: Thrift
    ) -> None:
        self._policy = policy
        self._saver = saver
        self._accounts = accounts
        self._thrift = thrift
        self.point: SavePoint | None = None  # of the one that is being gathered

    def may_wait(self) -> bool:
        """Whether what is due is better saved later; what hparams have asked for never is."""
        return self._policy.every_n_steps is None and self._thrift.waits()

    @property
    def owes(self) -> bool:
        """Whether anything that was due is not on disk."""
        return self._thrift.owes

    def save(self, trainer: pl.Trainer, batch: int) -> None:
        """Gather and write the state after `batch`; on every rank."""
        with self._thrift.paying():
            point = _point(trainer, batch, best=self._policy.take(batch))
            draft = Draft(wanted=self._saver is not None)
            try:
                self._write(trainer, point, draft)
            except SaveFailed:
                if self._saver is not None:
                    self._saver.path(batch)  # raises where the run is gone: that is why, then
                raise
            if self._saver is not None:
                self._saver.finish(draft.path, replace(point, ledger=self._accounts.recorded()))

    def hold(self, trainer: pl.Trainer, batch: int) -> None:
        """Keep it in memory if it is the best; what isn't is saved later, or never."""
        self._thrift.owes = True
        if not self._policy.put_off():
            return
        point, kept = _point(trainer, batch, best=True), Kept()
        with self._thrift.freezing():
            self._gather(trainer, point, kept, "unused")
        self._thrift.keep(kept.checkpoint, replace(point, ledger=self._accounts.recorded()))

    def rescue(self) -> None:
        """Write the best that was held, where training has failed."""
        if self._saver is not None:
            with suppress(TorchLabError):  # why training has failed is what is told
                self._write_held(self._saver, superseded=False)

    def _write(self, trainer: pl.Trainer, point: SavePoint, draft: Draft) -> None:
        target: Any = "unused"
        if self._saver is not None:
            self._write_held(self._saver, superseded=point.best)
            self._saver.wait()  # two saves never overlap
            target = self._saver.path(point.batch)
        self._gather(trainer, point, draft, target)

    def _write_held(self, saver: Saver, *, superseded: bool) -> None:
        """The best that was held comes before what is newer."""
        held = self._thrift.take()
        if held is None or superseded:
            return
        saver.wait()
        saver.finish(write_draft(held.contents, saver.path(held.point.batch)), held.point)

    def _gather(self, trainer: pl.Trainer, point: SavePoint, draft: Draft, target: Any) -> None:
        self.point = point
        try:
            with riding_along(trainer, draft) as options:
                trainer.save_checkpoint(target, storage_options=options)
        finally:
            self.point = None


@contextmanager
def riding_along(trainer: pl.Trainer, draft: Draft) -> Iterator[Draft | None]:
    """What save_checkpoint is to be given; sharded strategies take nothing, but write the whole."""
    if not lightning.shards(trainer):
        yield draft
        return
    files: Any = trainer.strategy.checkpoint_io
    files.draft = draft
    try:
        yield None
    finally:
        files.draft = None


def _point(trainer: pl.Trainer, batch: int, *, best: bool) -> SavePoint:
    """Where training is now."""
    return SavePoint(
        batch=batch,
        step=trainer.global_step,
        epoch=trainer.current_epoch,
        metrics=_numbers(trainer.callback_metrics),
        best=best,
    )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if value.numel() == 1}
