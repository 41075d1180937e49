"""A training run in this process, new, resumed or joined as another rank."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torch_lab import experiment as experiments
from torch_lab.checkpoints import resolve as checkpoints
from torch_lab.checkpoints.resolve import Found
from torch_lab.engine.fit import Setting, Start, fit
from torch_lab.engine.ranks import Follower, Lead, Ranks
from torch_lab.engine.ranks import meeting as meetings
from torch_lab.engine.ranks.meeting import Meeting
from torch_lab.engine.stop import StopRequest
from torch_lab.engine.trainer import check_gpus
from torch_lab.experiment import clearml_calls
from torch_lab.hparams import Hparams
from torch_lab.mirror import launch
from torch_lab.store.console import Console
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record, read
from torch_lab.tasks import other_machines, report, session
from torch_lab.tasks.mirroring import Mirroring
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import (
    Plan,
    named_in_hparams,
    new_record,
    recorded_plan,
    run_prefix,
    say,
    starting_point,
)
from torch_lab.tasks.session import Session
from torch_lab.tasks.sweep import membership
from torch_lab.tasks.train import JOIN
from torch_lab.utils.at_hand import at_hand
from torch_lab.utils.launched import Launch
from torch_lab.utils.tracebacks import format_exception

_CLOSING = 10.0  # seconds to close the books of a run whose main thread is stuck

# -- a new run -------------------------------------------------------------------------------


def begin(
    plan: Plan,
    mirrored: Mirroring,
    place: StoredRun | None = None,
    meeting: Meeting | None = None,
) -> None:
    """A new run, to its end; one that was queued has its place already."""
    experiments.require_function(plan.experiment, "train_config")
    check_gpus(plan.options.gpus)
    found = _found(plan)
    seed = plan.hparams.seed
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    prefix = run_prefix(plan.experiment, plan.options.dev_run)
    record = replace(new_record(plan, seed, found.parent if found else None), sync=mirrored.wanted)
    floor = mirrored.floor()
    with (
        _stop_request(plan) as stop,
        session.new(
            plan.experiment, plan.settings, record, prefix, floor=floor, place=place
        ) as books,
    ):
        mirrored.follow(books.directory)
        print(report.headline(books.record, books.directory))
        _run(plan, books, _start(plan, found), seed, stop, meeting)


def _found(plan: Plan) -> Found | None:
    """The checkpoint that the hyperparameters say to start from."""
    named = starting_point(plan)
    return None if named is None else _find(plan, *named)


def _start(plan: Plan, found: Found | None) -> Start:
    """What training starts from, said in a line where it is a checkpoint."""
    if found is None:
        return Start()
    section = plan.hparams.checkpoint
    print(f"from {report.shown(found.path)}" + (" (weights)" if section.weights_only else ""))
    return Start(found.path, section.weights_only, section.strict)


def _find(plan: Plan, given: str | os.PathLike[str] | None, key: str) -> Found | None:
    if given is None:
        return None
    text = os.fspath(given)
    name, artifacts = plan.hparams.checkpoint.checkpoint_name, plan.settings.artifacts
    with named_in_hparams(plan.hparams, plan.options.overrides, key, text):
        return checkpoints.resolve(
            text, name, artifacts, cwd=Path.cwd(), say=say, server=_may_ask(plan)
        )


def _may_ask(plan: Plan) -> bool:
    """Whether a checkpoint that isn't here may be fetched from the server."""
    return launch.wanted(plan.settings, offline=plan.options.offline)


def _baseline(plan: Plan) -> Hparams:
    """The hyperparameters with the checkpoint that validation is to start with found."""
    trainer = plan.hparams.trainer
    if trainer.validate is None or trainer.validate.get("ckpt_path") is None:
        return plan.hparams
    found = _find(plan, trainer.validate["ckpt_path"], "trainer.validate.ckpt_path")
    validate = {**trainer.validate, "ckpt_path": str(found.path) if found else None}
    return replace(plan.hparams, trainer=replace(trainer, validate=validate))


# -- an interrupted one ----------------------------------------------------------------------


def resume(
    plan: Plan, stored: StoredRun, mirrored: Mirroring, meeting: Meeting | None = None
) -> None:
    """An interrupted run, from its newest sound checkpoint to its end."""
    experiments.require_function(plan.experiment, "train_config")
    check_gpus(plan.options.gpus)
    with (
        _stop_request(plan) as stop,
        session.resumed(
            plan.experiment, plan.settings, stored.directory, sync=mirrored.wanted_again
        ) as books,
    ):
        mirrored.follow(books.directory)
        last = books.checkpoint("last")
        print(report.headline(books.record, books.directory, resumed=last))
        if last is not None:
            start = Start(books.directory.path / last.file, resuming=True)
        else:
            start = _start(plan, _found_again(plan, books.record))
        assert books.record.seed is not None
        _run(plan, books, start, books.record.seed, stop, meeting)


def _found_again(plan: Plan, record: Record) -> Found | None:
    """The checkpoint that a run cut before its first own one had started from."""
    if record.parent is None:
        return _found(plan)
    name, artifacts = record.parent.checkpoint, plan.settings.artifacts
    return checkpoints.resolve(
        record.parent.id, name, artifacts, cwd=Path.cwd(), say=say, server=_may_ask(plan)
    )


# -- all of them -----------------------------------------------------------------------------


@contextmanager
def _stop_request(plan: Plan) -> Iterator[StopRequest]:
    """Signals are heard, but act only when the books are open, so that the record tells of them."""
    stop = StopRequest(plan.settings.grace_period)
    stop.hold()
    with stop.listening():
        yield stop


def _run(
    plan: Plan,
    books: Session,
    start: Start,
    seed: int,
    stop: StopRequest,
    meeting: Meeting | None,
) -> None:
    assignment = {
        "directory": str(books.directory.path),
        "seed": seed,
        "start": [str(start.checkpoint or ""), start.weights_only, start.strict, start.resuming],
        "grace_period": plan.settings.grace_period,
    }
    launch = None if meeting is None else meeting.launch
    lead = Lead(stop, give_up=partial(_give_up, books), log=partial(_log, books), launch=launch)
    os.environ[JOIN] = json.dumps(assignment)
    stop.log = books.directory.console()
    try:
        stop.release()
        with lead.together():
            if meeting is not None:
                meeting.tell(assignment=assignment)
                lead.adopt(meeting.joined.values())
            _execute(plan, books.directory, start, seed, stop, lead, books)
        stop.hold()
        books.finish("completed")  # said only when it is recorded
        print(report.completed(books, plan.experiment))
    except BaseException as error:  # a signal too; raised again
        stop.hold()
        books.settle(error)
        print(report.interrupted(error, books))
        raise
    finally:
        del os.environ[JOIN]


def _log(books: Session, rank: int) -> str:
    return report.shown(books.directory.console(rank))


def _give_up(books: Session, error: BaseException) -> None:
    """End a run whose main thread waits for a rank that is gone, in a call that nothing ends."""

    def close() -> None:
        print(report.interrupted(error, books))
        where = report.shown(books.directory.path)
        sys.stderr.write(f"{format_exception(error)}\nrun directory: {where}\n")
        session.abandon(books, error)

    closing = threading.Thread(target=close, name="closing", daemon=True)
    closing.start()
    closing.join(_CLOSING)
    os._exit(1)


def join_meeting(options: TrainOptions, launch: Launch, patience: float) -> None:
    """A process that torchrun or srun has started, of another rank than 0."""
    launch, channel, told = meetings.join(launch, patience)
    if told is None:  # rank 0 has said why
        raise SystemExit(1)
    if "nothing" in told:
        return
    assignment = told["assignment"]
    stop = StopRequest(assignment["grace_period"], silent=True)
    _follow(options, assignment, Follower(stop, channel, launch.rank, launch), stop)


def join(options: TrainOptions, assignment: dict[str, Any]) -> None:
    """A process of another rank that rank 0 has started."""
    stop = StopRequest(assignment["grace_period"], silent=True)
    _follow(options, assignment, Follower.started(stop), stop)


def _follow(
    options: TrainOptions, assignment: dict[str, Any], follower: Follower, stop: StopRequest
) -> None:
    """The same training, without books."""
    directory = RunDirectory(Path(assignment["directory"]))
    with follower.together(), stop.listening():
        if follower.launch is not None:
            other_machines.join(directory, follower.launch)
        stop.log = log = directory.console(follower.rank)
        with Console(log):
            _train_along(options, assignment, follower, stop, directory)


def _train_along(
    options: TrainOptions,
    assignment: dict[str, Any],
    follower: Follower,
    stop: StopRequest,
    directory: RunDirectory,
) -> None:
    plan = recorded_plan(directory, read(directory), options)
    checkpoint, weights_only, strict, resuming = assignment["start"]
    start = Start(Path(checkpoint) if checkpoint else None, weights_only, strict, resuming)
    _execute(plan, directory, start, assignment["seed"], stop, follower, None)


def _execute(
    plan: Plan,
    directory: RunDirectory,
    start: Start,
    seed: int,
    stop: StopRequest,
    ranks: Ranks,
    books: Session | None,
) -> None:
    if books is not None:
        books.open_sdk()
    pl.seed_everything(seed, verbose=False)
    configuration = experiments.train_configuration(plan.experiment, plan.hparams.config)
    configuration = replace(configuration, callbacks=(*configuration.callbacks, *_of_sweep()))
    if books is not None:
        if not plan.hparams.task.get("sdk"):
            _remark(plan)
        books.running()
    setting = _setting(plan, directory, start, seed, stop, ranks, books)
    with at_hand(configuration=configuration, hparams=plan.hparams.as_dict()):
        fit(configuration, _baseline(plan), setting)


def _of_sweep() -> list[pl.Callback]:
    """What asks the pruner, in a trial of a sweep that has one."""
    if membership.current() is None:
        return []
    from torch_lab.tasks.sweep.pruning import watch

    return watch()


def _remark(plan: Plan) -> None:
    """Say where the experiment's code looks for a ClearML task, and finds none."""
    if remark := clearml_calls.remark(plan.experiment.root):
        say(remark)


def _setting(
    plan: Plan,
    directory: RunDirectory,
    start: Start,
    seed: int,
    stop: StopRequest,
    ranks: Ranks,
    books: Session | None,
) -> Setting:
    settings = plan.settings
    speak: Callable[[str], None] = say if books else lambda _: None
    return Setting(
        directory=directory.path,
        seed=seed,
        start=start,
        stop=stop,
        books=books,
        gpus=plan.options.gpus,
        trust=plan.options.trust,
        every_n_steps=settings.every_n_steps,
        every_minutes=settings.every_minutes,
        keep=settings.keep_checkpoints,
        say=speak,
        scripts=(plan.experiment.configuration, plan.experiment.script),
        drill=plan.options.drill,
        ranks=ranks,
    )
