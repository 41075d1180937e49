"""The ledger of a training in this process: told by the loops, saved, and proven at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_lab.engine import lightning, state
from torch_lab.engine.ledger import Ledger, proof, recorded
from torch_lab.errors import RunIncomplete


class Accounts:
    """Keeps a process's ledger; nothing is counted while a search is `paused` for."""

    def __init__(self, ledger: Ledger) -> None:
        self.paused = False
        self._ledger = ledger
        self._trainer: Any = None
        self._all: list[Mapping[str, Any]] = []  # of all processes, as gathered last

    def attach(self, trainer: Any) -> None:
        """Keep the ledger of this trainer's fit."""
        self._trainer = trainer

    # -- the loops' --------------------------------------------------------------------------

    def epoch_begins(self) -> None:
        """The batches of an epoch, or what a cut has left of them, come next."""
        if not self.paused:
            planned = lightning.planned_batches(self._trainer)
            tally = lightning.tally(self._trainer, planned)
            self._ledger.begin(lightning.epochs_done(self._trainer), planned, tally)

    def epoch_is_over(self) -> None:
        """Nothing of the epoch is left but the hooks of its end."""
        if not self.paused:
            trainer = self._trainer
            tally = lightning.tally(trainer, lightning.planned_batches(trainer))
            stop = lightning.stop_in_force(trainer)
            why = lightning.step_limit(trainer) or (None if stop is None else str(stop))
            self._ledger.close(trainer.fit_loop.epoch_loop.advanced, tally, why)

    def given_up(self, error: StopIteration) -> None:
        """Lightning takes this for the epoch's end, or for training's."""
        if not self.paused:
            module = self._trainer.lightning_module
            self._ledger.give_up(lightning.ending_of(error, module))

    def settle(self) -> None:
        """Training is over: see what has ended it."""
        if not self.paused:
            trainer = self._trainer
            self._ledger.end(
                epochs=lightning.epochs_done(trainer),
                most=trainer.max_epochs,
                steps=lightning.step_limit(trainer),
                stop=lightning.stop_in_force(trainer),
            )

    # -- its state ---------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """This process's ledger as plain data."""
        trainer = self._trainer
        tally = lightning.tally(trainer, None)
        return self._ledger.state(trainer.fit_loop.epoch_loop.advanced, tally, trainer.stopped_by())

    def load(self, saved: Mapping[str, Any] | None) -> None:
        """Go on from what a checkpoint has of all processes; None for another program's."""
        if saved is None:
            self._ledger.load(None, batch=0, boundary=False)
            return
        trainer, ranks = self._trainer, saved["ranks"]
        share = ranks[trainer.global_rank if len(ranks) == trainer.world_size else 0]
        stop = self._ledger.load(
            share.get("ledger"), batch=saved["batch"], boundary=saved["boundary"]
        )
        if len(ranks) != trainer.world_size:
            self._ledger.went_on_elsewhere(len(ranks), trainer.world_size)
        trainer.was_stopped_by(stop)

    def gathered(self, ranks: list[dict[str, Any]]) -> None:
        """See the ledgers that are saved of all processes."""
        self._all = [each["ledger"] for each in ranks]

    def recorded(self) -> dict[str, Any] | None:
        """The run's ledger for its record."""
        return recorded(self._all) if self._all else None

    def verdict(self) -> RunIncomplete | None:
        """Whether all that was planned was done, once: the same on all ranks when fit is over."""
        if self._trainer.limit_train_batches == 0:
            return None
        if not self._ledger.is_settled:  # there was nothing left to train
            self.settle()
        self._all = [*state.gathered(self.state())]
        return proof(self._all)
