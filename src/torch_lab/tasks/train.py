"""`train`: what was asked is checked first; what runs it is imported only then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab import settings as settings_
from torch_lab.errors import UsageError
from torch_lab.store.find import StoredRun
from torch_lab.store.record import QUEUED
from torch_lab.tasks import changes, mirroring, slurm
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import Plan, interrupted, plan, recorded_plan
from torch_lab.tasks.pool.child import announce
from torch_lab.tasks.sweep import membership
from torch_lab.utils import launched
from torch_lab.utils.importing import importing
from torch_lab.utils.launched import Launch

if TYPE_CHECKING:  # it imports torch
    from torch_lab.engine.ranks.meeting import Meeting

JOIN = "_TORCH_LAB_JOIN"  # tells the processes of the other ranks which run they belong to


def train(options: TrainOptions) -> None:
    """Train as `options` say; returns when the run is completed, and raises otherwise."""
    if JOIN in os.environ and _rank() > 0:
        with importing():
            from torch_lab.tasks import running

        return running.join(options, json.loads(os.environ.pop(JOIN)))
    if (found := launched.launch()) is not None:
        return _one_of_several(options, found)
    launched.forget()
    if options.queue is not None:
        from torch_lab.tasks.queue import hand_over

        return hand_over(options, options.queue)
    return _train(options, None)


def _train(options: TrainOptions, meeting: Meeting | None) -> None:
    with importing():  # hyperparameter scripts import torch, too
        stored = _earlier(options)
        if stored is not None and stored.status == "completed":
            announce(stored.directory, stored.record)
            print(_nothing_to_do(stored))
            return None if meeting is None else meeting.dismiss()
        if stored is None:
            assert options.script is not None
            ready = plan(options.script, options)
        else:
            ready = recorded_plan(stored.directory, stored.record, options)
            force = options.force or stored.status == QUEUED  # its code is what it brought along
            changes.check(stored.record, ready.experiment, ready.hparams, force=force)
    return start(ready, stored, meeting)


def _earlier(options: TrainOptions) -> StoredRun | None:
    """The run that is to go on: that of this trial of a sweep, of this Slurm job, or as asked."""
    if membership.current() is not None:
        return membership.earlier_run()
    return slurm.submitted_run(options) or slurm.earlier_run(options) or interrupted(options)


def _nothing_to_do(stored: StoredRun) -> str:
    trial = membership.current() is not None
    return membership.nothing_to_do(stored) if trial else slurm.nothing_to_do(stored)


def start(ready: Plan, stored: StoredRun | None, meeting: Meeting | None = None) -> None:
    """A new run, or one that is stored: begun where it was queued, else gone on with.

    `meeting` is where the other processes are, if torchrun or srun has started them.
    """
    if meeting is not None:
        meeting.gather()
    mirrored = mirroring.prepare(ready, new=stored is None)
    with mirrored.of_training():
        with importing():
            from torch_lab.tasks import running
        if stored is None or stored.status == QUEUED:
            return running.begin(ready, mirrored, stored, meeting)
        return running.resume(ready, stored, mirrored, meeting)


def _one_of_several(options: TrainOptions, launch: Launch) -> None:
    """A process that torchrun or srun has started: rank 0 decides, the others are told."""
    if options.queue is not None:
        raise UsageError(
            f"--queue {options.queue} hands over one run: {launch.by} has started {launch.world}"
            " processes to do so",
            hint="Start it once, by itself.",
        )
    patience = settings_.load(options.script or Path.cwd()).join_timeout
    launched.end_with_agent(launch)
    with importing():
        from torch_lab.engine.ranks import meeting
        from torch_lab.tasks import running
    if launch.rank > 0:
        return running.join_meeting(options, launch, patience)
    with meeting.opened(launch, patience) as opened:
        return _train(options, opened)


def _rank() -> int:
    """Which process of the run this is, as launchers tell it."""
    ranks = [os.environ.get(name, "") for name in ("RANK", "LOCAL_RANK")]
    return next((int(rank) for rank in ranks if rank.isdigit()), 0)
