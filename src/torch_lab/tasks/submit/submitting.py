"""The way of a submission: everything is checked, then staged, then Slurm is asked."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_lab import experiment as experiments
from torch_lab.errors import SlurmError, TorchLabError, UsageError
from torch_lab.store import claim
from torch_lab.store.failures import storing
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED
from torch_lab.store.secrets import MASK, mask_text
from torch_lab.store.slurm import Submission, write_submission
from torch_lab.tasks import report, slurm_queue
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import (
    Plan,
    hparams_scripts,
    interrupted,
    plan,
    recorded_plan,
    refuse_twice,
    run_prefix,
)
from torch_lab.tasks.submit.asked import Asked
from torch_lab.tasks.submit.handing import Unanswered, hand_over, not_cut_off, require_slurm
from torch_lab.tasks.submit.layout import Layout, layout, nodes_override
from torch_lab.tasks.submit.script import batch_script
from torch_lab.tasks.submit.staging import Staged, staged, staged_again
from torch_lab.utils.files import write_atomic
from torch_lab.utils.text import plural


@dataclass(frozen=True)
class _Ready:
    """What is known of a run before anything is written."""

    plan: Plan
    layout: Layout
    stored: StoredRun | None


def submit(asked: Asked) -> None:
    """Hand runs to Slurm; returns when it has them all. With `dry_run` only say what it would."""
    scripts = hparams_scripts(asked.scripts)
    refuse_twice(scripts, asked.resume)
    ready = [_checked(asked, script) for script in scripts or (None,)]
    if asked.array:
        _require_alike(ready)
    if asked.dry_run:
        _show(asked, ready)
        return
    require_slurm()
    jobs = [ready] if asked.array else [[each] for each in ready]
    for number, job in enumerate(jobs):
        try:
            _submit(asked, job)
        except TorchLabError as error:
            left = sum(map(len, jobs[number:]))
            if number:
                error.add_note(f"{plural(left, 'run')} not submitted; those above are")
            raise


# -- what is known before ---------------------------------------------------------------------


def _checked(asked: Asked, script: Path | None) -> _Ready:
    stored = interrupted(asked.of_script(script))
    if stored is not None:
        slurm_queue.refuse_waiting(stored)
        return _again(asked, script, stored)
    assert script is not None
    options = asked.of_script(script)
    _refuse_secrets(options)
    ready = plan(script, options)
    more = nodes_override(ready, asked.typed)
    if more is not None:
        ready = plan(script, asked.of_script(script, more))
    experiments.require_function(ready.experiment, "train_config")
    return _Ready(ready, layout(ready, asked.typed), None)


def _again(asked: Asked, script: Path | None, stored: StoredRun) -> _Ready:
    ready = recorded_plan(stored.directory, stored.record, asked.of_script(script))
    if nodes_override(ready, asked.typed) is not None:
        raise UsageError(
            f"run {stored.record.name} was begun on one node, and --nodes is"
            f" {asked.typed['nodes']}: a run keeps its number of processes",
            hint="Start a new run from its checkpoint: checkpoint.checkpoint_task_id.",
        )
    return _Ready(ready, layout(ready, asked.typed), stored)


def _refuse_secrets(options: TrainOptions) -> None:
    hidden = [text for text in options.overrides if mask_text(text).endswith(MASK)]
    if hidden:
        raise UsageError(
            f"--set {mask_text(hidden[0])} is a secret, which isn't recorded",
            hint="Let the script read it from the environment: a job gets that of its submission.",
        )


def _require_alike(ready: Sequence[_Ready]) -> None:
    first = ready[0]
    other = next((each for each in ready if each.layout != first.layout), None)
    if other is not None:
        names = [report.shown(each.plan.experiment.script) for each in (first, other)]
        raise UsageError(
            f"{' and '.join(names)} need different nodes or GPUs, which an array can't have",
            hint="Leave --array out: each gets a job of its own.",
        )


# -- a dry run --------------------------------------------------------------------------------


def _show(asked: Asked, ready: Sequence[_Ready]) -> None:
    """The batch scripts, with N where a number would be drawn; nothing is written."""
    runs = [(_place(each), _id(each)) for each in ready]
    groups = [range(len(ready))] if asked.array else [range(n, n + 1) for n in range(len(ready))]
    texts = [
        batch_script(
            [runs[n] for n in group],
            ready[group[0]].layout,
            array=asked.array,
            inside=_inside(ready[group[0]].plan.experiment.root),
            words=_words(asked),
        )
        for group in groups
    ]
    print("\n".join(texts), end="")


def _place(ready: _Ready) -> RunDirectory:
    if ready.stored is not None:
        return ready.stored.directory
    prefix = run_prefix(ready.plan.experiment, ready.plan.options.dev_run)
    return RunDirectory(ready.plan.settings.artifacts.absolute() / f"{prefix}_vN")


def _id(ready: _Ready) -> str:
    return ready.stored.record.id if ready.stored is not None else "ID"


# -- a submission -----------------------------------------------------------------------------


def _submit(asked: Asked, job: Sequence[_Ready]) -> None:
    """One job; what exists only for it is gone again where Slurm surely doesn't get it."""
    runs: list[Staged] = []
    try:
        for each in job:
            runs.append(_staged(each))
        script = _written(asked, runs, job[0].layout)
    except BaseException:  # Ctrl-C too; raised again
        _discard(runs)
        raise
    began = round(time.time(), 3)
    with not_cut_off():
        try:
            taken = hand_over(script, asked.typed)
        except Unanswered:
            raise
        except SlurmError:
            _discard(runs)
            raise
        for index, run in enumerate(runs):
            _note(run, f"{taken.job}_{index}" if asked.array else taken.job, taken.cluster, began)


def _discard(runs: Sequence[Staged]) -> None:
    for run in runs:
        if run.new:
            claim.discard(run.directory)


def _staged(ready: _Ready) -> Staged:
    if ready.stored is not None:
        return staged_again(ready.plan, ready.stored)
    return staged(ready.plan, ready.layout)


def _written(asked: Asked, runs: Sequence[Staged], layout: Layout) -> Path:
    """The job's batch script, kept beside the record of each run in it."""
    places = [(run.place, run.record.id) for run in runs]
    text = batch_script(
        places, layout, array=asked.array, inside=_inside(runs[0].root), words=_words(asked)
    )
    for place, _ in places:
        with storing("write", place.batch_script):
            write_atomic(place.batch_script, text.encode())
    return places[0][0].batch_script


def _note(run: Staged, job: str, cluster: str | None, began: float) -> None:
    """Record which job the run was handed to, and say it."""
    log = run.place.path / f"slurm-{job}.log"
    write_submission(run.place, Submission(job, str(log), began, cluster))
    verb = "queued" if run.record.status == QUEUED else "goes on"
    print(report.headline(run.record, run.directory))
    print(f"{verb} in Slurm: job {job}")
    print(f"  log       {report.shown(log)}")
    print(f"  next      {shlex.join(['lab', 'show', run.record.name])}")


def _words(asked: Asked) -> list[str]:
    chosen = {"--trust": asked.trust, "--offline": asked.offline}
    return [word for word, given in chosen.items() if given]


def _inside(root: Path) -> Path:
    """Where in the project one stands: there relative paths mean the same in the job."""
    here, top = Path.cwd(), root.absolute()
    return Path(os.path.relpath(here, top)) if here.is_relative_to(top) else Path()
