"""What a run is going to be, known before anything heavy is imported."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab import settings as settings_
from torch_lab.errors import (
    CheckpointError,
    CheckpointNotFound,
    HparamsError,
    RunNotFound,
    UsageError,
)
from torch_lab.experiment import Experiment
from torch_lab.hparams import Hparams
from torch_lab.hparams.lines import located
from torch_lab.settings import Settings
from torch_lab.store import find, slurm, source
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED, Parent, Record
from torch_lab.store.secrets import MASK
from torch_lab.tasks import slurm_queue
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.sweep import membership
from torch_lab.utils.paths import absolute, display
from torch_lab.utils.roots import prefer_root
from torch_lab.utils.scripts import import_root


@dataclass(frozen=True)
class Plan:
    """What is known of a run before it begins."""

    experiment: Experiment
    settings: Settings
    hparams: Hparams
    options: TrainOptions


def plan(script: Path, options: TrainOptions) -> Plan:
    """The plan for training a script, its hyperparameters checked."""
    experiment = experiments.find(script)
    hparams = hyperparameters.load(
        experiment.script,
        overrides=options.overrides,
        dev_run=options.dev_run,
        config_type=experiments.config_type(experiment, "train_config"),
    )
    for notice in hparams.notices:
        say(notice)
    settings = settings_.load(experiment.script)
    if settings.default_project is not None:
        task = {"project_name": settings.default_project} | hparams.task
        hparams = replace(hparams, task=task)
    return Plan(experiment, settings, hparams, options)


def hparams_scripts(scripts: Sequence[Path]) -> list[Path]:
    """What a shell's `*.py` finds beside hyperparameter scripts is left out, and said."""
    others = [script for script in scripts if script.name in ("__main__.py", "__init__.py")]
    left = [script for script in scripts if script not in others]
    if not others or not left:
        return list(scripts)
    say(f"left out, as no hyperparameter script: {', '.join(map(display, others))}")
    return left


def refuse_twice(scripts: Sequence[Path], resume: str | None) -> None:
    """Raise where several are to go on with one run."""
    places = list(map(absolute, scripts))
    twice = {display(place) for place in places if places.count(place) > 1}
    if resume is not None and twice:
        raise UsageError(
            f"--resume auto can't go on with {min(twice)} twice: both would find the same run",
            hint="Name each script once.",
        )


def new_record(plan: Plan, seed: int | None, parent: Parent | None) -> Record:
    """What is known of a new run before it has a name."""
    experiment, options = plan.experiment, plan.options
    return Record(
        name="",
        id="",
        status="starting",
        experiment=experiment.name,
        script=os.path.relpath(experiment.script, experiment.root),
        command=spoken_command(),
        hparams=plan.hparams.as_dict(),
        overrides=options.overrides,
        dev_run=options.dev_run,
        seed=seed,
        parent=parent,
        host=socket.gethostname(),
        scripts=source.script_hashes(experiment.directory),
        slurm=slurm.as_record(),
        sweep=membership.as_record(),
    )


def recorded_plan(directory: RunDirectory, record: Record, options: TrainOptions) -> Plan:
    """The plan as a run recorded it, from the scripts as they are now."""
    hidden = [text for text in record.overrides if text.endswith(MASK)]
    if hidden:
        raise UsageError(
            f"run {record.name} was begun with --set {hidden[0]}: what was masked is not recorded",
            hint="Keep secrets in the environment; a run that needs one again can't be resumed.",
        )
    recorded = replace(options, overrides=record.overrides, dev_run=record.dev_run)
    ready = plan(_script(directory, record, options), recorded)
    if record.queued is None:
        return ready
    from torch_lab.tasks.resolved import as_recorded

    return as_recorded(ready, record)


def _script(directory: RunDirectory, record: Record, options: TrainOptions) -> Path:
    """The run's script: artifacts may lie outside of the project, or the project have moved."""
    if options.script is not None:
        return options.script
    queued = directory.code / record.script
    if queued.is_file():  # no copy that is installed may go before the code that was queued
        prefer_root(import_root(queued))
        return queued
    places = (directory.path, Path.cwd())
    scripts = [settings_.project_root(place) / record.script for place in places]
    return next((script for script in scripts if script.is_file()), scripts[0])


def interrupted(options: TrainOptions) -> StoredRun | None:
    """The run that `--resume` names; for `auto`, the script's newest interrupted one if any."""
    if options.resume is None:
        return None
    if options.resume == "auto":
        return _newest_interrupted(options)
    if options.overrides or options.dev_run is not None:
        raise UsageError(
            "--set and --dev-run can't be given to --resume: a run keeps its hyperparameters",
            hint="Start a new run from its checkpoint instead: checkpoint.checkpoint_task_id.",
        )
    settings = settings_.load(Path.cwd())
    stored, _ = find.resolve(
        options.resume, settings.artifacts, cwd=Path.cwd(), lost_after=settings.lost_after
    )
    if stored.record.fetched is not None:
        raise UsageError(
            f"run {stored.record.name} was fetched from a ClearML server: it is resumed where it"
            " was made",
            hint="To train on here, start a new run from it: checkpoint.checkpoint_task_id.",
        )
    if _is_waiting(stored, options):
        raise UsageError(
            f"run {stored.record.name} is queued: an agent begins it",
            hint=f"`lab show {stored.record.name}` says how far it is.",
        )
    refuse_completed(stored.record)
    return stored


def _is_waiting(stored: StoredRun, options: TrainOptions) -> bool:
    """Whether an agent is to begin the run; raises where a Slurm job is to."""
    slurm_queue.refuse_waiting(stored, force=options.force)
    return stored.status == QUEUED and not slurm_queue.handed_over(stored)


def refuse_completed(record: Record) -> None:
    """Say that a run has come to its end; asked again once its lock is held, since it may have
    ended meanwhile."""
    if record.status == "completed":
        raise UsageError(
            f"run {record.name} is completed: there is nothing to resume",
            hint="To train on, start a new run from it: checkpoint.checkpoint_task_id.",
        )


def _newest_interrupted(options: TrainOptions) -> StoredRun | None:
    """The script's newest interrupted run that was begun as this command would begin one."""
    assert options.script is not None
    experiment = experiments.find(options.script)
    settings = settings_.load(experiment.script)
    place, lost_after = settings.artifacts, settings.lost_after
    prefix = run_prefix(experiment, options.dev_run)
    found = find.newest_interrupted(
        place, prefix, overrides=options.overrides, lost_after=lost_after
    )
    if found is None:
        other = find.newest_interrupted(place, prefix, overrides=None, lost_after=lost_after)
        if other is not None:
            say(_left_alone(other.record))
    return found


def _left_alone(record: Record) -> str:
    """Why an interrupted run is not the one that `--resume auto` goes on with."""
    words = shlex.join(word for text in record.overrides for word in ("--set", text))
    begun = f"with {words}" if words else "without --set"
    again = shlex.join(["train", "--resume", record.name])
    return f"{record.name} was interrupted too, but was begun {begun}: {again} goes on with it"


def starting_point(plan: Plan) -> tuple[str, str] | None:
    """The words that name the checkpoint to start from, and the key that holds them."""
    section, path = plan.hparams.checkpoint, plan.hparams.trainer.fit.get("ckpt_path")
    if section.checkpoint_task_id is not None and path is not None:
        script = plan.experiment.script
        problem = "trainer.fit.ckpt_path: expected this or checkpoint.checkpoint_task_id, not both"
        raise HparamsError(display(script), located(script, [problem]))
    if path is not None:
        return os.fspath(path), "trainer.fit.ckpt_path"
    named = section.checkpoint_task_id
    return None if named is None else (named, "checkpoint.checkpoint_task_id")


@contextmanager
def named_in_hparams(
    hparams: Hparams, overrides: tuple[str, ...], key: str, text: str
) -> Iterator[None]:
    """End what is said of a checkpoint that hparams name with where they do so."""
    try:
        yield
    except (CheckpointError, RunNotFound) as error:
        by_name = ":" not in text and hparams.checkpoint.checkpoint_name != "last"
        if isinstance(error, CheckpointNotFound) and by_name and not text.endswith(".ckpt"):
            key = "checkpoint.checkpoint_name"
        typed = any(each.partition("=")[0].strip() == key for each in overrides)
        script = display(hparams.path) if hparams.path else "hparams"
        error.message += f" (--set {key})" if typed else f" ({key} in {script})"
        raise


def run_prefix(experiment: Experiment, dev_run: float | None) -> str:
    """What a run's name is made of, but for its number."""
    return experiment.run_prefix if dev_run is None else f"dev_{experiment.run_prefix}"


def spoken_command() -> tuple[str, ...]:
    """The words of this process's command line as a person types them."""
    name = Path(sys.argv[0]).name
    return ("torch-lab" if name == "__main__.py" else name, *sys.argv[1:])


def say(text: str) -> None:
    """A remark beside the results."""
    sys.stderr.write(f"{text}\n")  # at once: threads say things too
