"""The callback that watches a drill's runs, and kills those that are to be cut."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torch_lab.callbacks.samples import drawn
from torch_lab.data import DataLoader
from torch_lab.engine import lightning
from torch_lab.engine.drill import Drill
from torch_lab.engine.fingerprints.cast import cast_of
from torch_lab.engine.fingerprints.objects import (
    attributes_of,
    data_of,
    dataset_of,
    global_generators,
    global_variables,
    loaders_of,
)
from torch_lab.engine.fingerprints.states import core
from torch_lab.engine.marks import Marker

States = dict[str, str]

_SIZE = 8_000_000  # bytes of an array in a dataset; a larger one is data that nobody changes


class Witness(pl.Callback):
    """Writes down what each batch began with and left behind; kills the process where told to."""

    def __init__(self, drill: Drill, directory: Path) -> None:
        self._drill = drill
        folders = (str(directory), str(drill.file.parent))
        self._mark = Marker(folders)
        self._data = Marker(folders, size=_SIZE)
        self._batch: States = {}
        self._evaluated: list[str] = []
        self._armed: str | None = None
        self._rank = 0

    # -- Lightning's hooks ------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down who there is, and what was there before the first batch."""
        self._rank = trainer.global_rank
        self._write({"at": "start", **cast_of(trainer)})
        self._see(trainer, "begin", lightning.batches_done(trainer), {})

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """See what goes into the batch."""
        order = [drawn([each], batch_idx) for each in loaders_of(trainer.train_dataloader)]
        self._batch = {"order: ": self._mark(order), "contents: ": self._mark(batch)}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """See what comes out; the optimizer has stepped, and the boundary is still to come."""
        self._batch["loss: "] = self._mark(outputs)
        self._kill_if("step")

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """See what is validated on."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._evaluated.append(self._mark(batch))
            self._kill_if("validation")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See what training leaves, and whether the data give the same again."""
        loaders = loaders_of(trainer.train_dataloader)
        self._see(trainer, "end", lightning.batches_done(trainer), {})
        if self._drill.cut is None:
            self._write({"at": "again", "changing": [*self._changing(loaders)]})

    # -- the boundaries' --------------------------------------------------------------------

    def at_boundary(self, trainer: pl.Trainer, batch: int) -> bool:
        """Everything of a batch has happened; whether to save and be `cut` now."""
        seen = self._batch
        if self._evaluated:
            seen = seen | {"validation: ": self._mark(self._evaluated)}
        self._batch, self._evaluated = {}, []
        self._see(trainer, "boundary", batch, seen)
        self._kill_if(self._armed)  # there was no such moment
        return self._drill.cut is not None and self._drill.cut.batch == batch

    def going_on(self, trainer: pl.Trainer, batch: int) -> None:
        """A resumed run has its state back."""
        self._see(trainer, "resumed", batch, {})

    def saved(self) -> None:
        """The checkpoint of the cut is on disk."""
        assert self._drill.cut is not None
        self._armed = self._drill.cut.moment
        self._kill_if("boundary")

    def _kill_if(self, moment: str | None) -> None:
        if moment is not None and moment == self._armed and self._rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _changing(self, loaders: list[Any]) -> Iterator[str]:
        """The datasets whose samples are others when they are loaded once more."""
        for loader in loaders:
            if not (isinstance(loader, DataLoader) and loader.exact and loader.epoch_batches()):
                continue
            try:
                first, second = (self._mark(loader.fetch(0)) for _ in range(2))
            except Exception:  # noqa: BLE001 - any: its files may be closed by now, as they may be
                continue
            if first != second:
                yield dataset_of(loader)

    # -- what it writes -----------------------------------------------------------------------

    def _see(self, trainer: pl.Trainer, at: str, batch: int, seen: States) -> None:
        unseen: list[str] = []
        states = dict(self._states(trainer, unseen))
        event = {"at": at, "batch": batch, "epoch": trainer.current_epoch, "states": seen | states}
        self._write(event | {"mid_epoch": lightning.in_mid_epoch(trainer), "unseen": unseen})

    def _write(self, event: Mapping[str, Any]) -> None:
        file = self._drill.file
        if self._rank:
            file = file.with_name(f"{file.stem}.{self._rank}{file.suffix}")
        with file.open("a") as lines:
            lines.write(json.dumps(event) + "\n")

    def _states(self, trainer: pl.Trainer, unseen: list[str]) -> Iterator[tuple[str, str]]:
        module = trainer.lightning_module
        for key, value in core(trainer):
            yield key, self._mark(value)
        for owner, name, value in attributes_of(trainer):
            yield f"attribute: {owner}\t{name}", self._mark(value)
            if self._mark.opaque:
                unseen.append(f"{owner}\t{name}")
        for name, generator in global_generators():
            yield f"generator: {name}", self._mark(generator)
        for name, value in global_variables():
            yield f"global: {name}", self._data(value)
        for owner, each in data_of(loaders_of(trainer.train_dataloader)):
            for name, value in vars(each).items():
                yield f"data: {owner}\t{name}", self._data(value)
        modes = [name for name, each in module.named_modules() if each.training]
        frozen = [name for name, each in module.named_parameters() if not each.requires_grad]
        yield "modes: ", self._mark([modes, frozen, trainer.accumulate_grad_batches])
