"""What a run is going to be, known before anything heavy is imported."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab import settings as settings_
from torch_lab.errors import UsageError
from torch_lab.experiment import Experiment
from torch_lab.hparams import Hparams
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record
from torch_lab.store.secrets import MASK
from torch_lab.tasks.options import TrainOptions


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


def recorded_plan(directory: RunDirectory, record: Record, options: TrainOptions) -> Plan:
    """The plan as a run recorded it, from the scripts as they are now."""
    hidden = [text for text in record.overrides if text.endswith(MASK)]
    if hidden:
        raise UsageError(
            f"run {record.name} was begun with --set {hidden[0]}: what was masked is not recorded",
            hint="Keep secrets in the environment; a run that needs one again can't be resumed.",
        )
    recorded = replace(options, overrides=record.overrides, dev_run=record.dev_run)
    return plan(_script(directory, record, options), recorded)


def _script(directory: RunDirectory, record: Record, options: TrainOptions) -> Path:
    """The run's script: artifacts may lie outside of the project, or the project have moved."""
    if options.script is not None:
        return options.script
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
    if stored.status == "completed":
        raise UsageError(
            f"run {stored.record.name} is completed: there is nothing to resume",
            hint="To train on, start a new run from it: checkpoint.checkpoint_task_id.",
        )
    return stored


def _newest_interrupted(options: TrainOptions) -> StoredRun | None:
    """The script's newest interrupted run that was begun as this command would begin one."""
    assert options.script is not None
    experiment = experiments.find(options.script)
    settings = settings_.load(experiment.script)
    return find.newest_interrupted(
        settings.artifacts,
        run_prefix(experiment, options.dev_run),
        overrides=options.overrides,
        lost_after=settings.lost_after,
    )


def run_prefix(experiment: Experiment, dev_run: float | None) -> str:
    """What a run's name is made of, but for its number."""
    return experiment.run_prefix if dev_run is None else f"dev_{experiment.run_prefix}"


def spoken_command() -> tuple[str, ...]:
    """The words of this process's command line as a person types them."""
    name = Path(sys.argv[0]).name
    return ("torch-lab" if name == "__main__.py" else name, *sys.argv[1:])


def say(text: str) -> None:
    """A remark beside the results."""
    print(text, file=sys.stderr)
