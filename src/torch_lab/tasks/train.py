"""`train`: what was asked is checked first; what runs it is imported only then."""

from __future__ import annotations

import json
import os

from torch_lab.errors import UsageError
from torch_lab.store.find import StoredRun
from torch_lab.store.record import QUEUED
from torch_lab.tasks import changes, mirroring, slurm
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import Plan, interrupted, plan, recorded_plan
from torch_lab.utils.interrupts import end_at_once

JOIN = "_TORCH_LAB_JOIN"  # tells the processes of the other ranks which run they belong to


def train(options: TrainOptions) -> None:
    """Train as `options` say; returns when the run is completed, and raises otherwise."""
    if JOIN in os.environ and _rank() > 0:
        with end_at_once():
            from torch_lab.tasks import running

        return running.join(options, json.loads(os.environ.pop(JOIN)))
    _refuse_other_launchers()
    if options.queue is not None:
        from torch_lab.tasks.queue import hand_over

        return hand_over(options, options.queue)
    with end_at_once():  # hyperparameter scripts import torch, too
        stored = slurm.earlier_run(options) or interrupted(options)
        if stored is not None and stored.status == "completed":
            print(slurm.nothing_to_do(stored))
            return None
        if stored is None:
            assert options.script is not None
            ready = plan(options.script, options)
        else:
            ready = recorded_plan(stored.directory, stored.record, options)
            changes.check(stored.record, ready.experiment, ready.hparams, force=options.force)
    return start(ready, stored)


def start(ready: Plan, stored: StoredRun | None) -> None:
    """A new run, or one that is stored: begun where it was queued, else gone on with."""
    mirrored = mirroring.prepare(ready, new=stored is None)
    with mirrored.of_training():
        with end_at_once():
            from torch_lab.tasks import running
        if stored is None or stored.status == QUEUED:
            return running.begin(ready, mirrored, stored)
        return running.resume(ready, stored, mirrored)


def _refuse_other_launchers() -> None:
    """Processes that nobody has told their run would each begin one of their own."""
    ranks = {name: os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")}
    several = os.environ.get("WORLD_SIZE", "1") not in ("", "1") and "RANK" in os.environ
    if several or any(rank not in ("", "0") for rank in ranks.values()):
        raise UsageError(
            "this process was started as one of several (torchrun, srun), which this version of"
            " train doesn't join into one run",
            hint="Start train once; trainer.init.devices says how many processes it is to use.",
        )


def _rank() -> int:
    """Which process of the run this is, as launchers tell it."""
    ranks = [os.environ.get(name, "") for name in ("RANK", "LOCAL_RANK")]
    return next((int(rank) for rank in ranks if rank.isdigit()), 0)
