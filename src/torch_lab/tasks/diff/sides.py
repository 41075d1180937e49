"""One side of a comparison: a run as it was recorded, or a script or experiment as it is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab import settings as settings_
from torch_lab.errors import StoreError, TorchLabError, UsageError
from torch_lab.experiment import Experiment, listing
from torch_lab.hparams.layering import script_hparams
from torch_lab.store import environment, git, source
from torch_lab.store.find import StoredRun
from torch_lab.store.record import Best, MetricSummary, Record
from torch_lab.store.secrets import MASK, mask
from torch_lab.store.values import decode, encode
from torch_lab.tasks import machines
from torch_lab.tasks.diff.machine import comparable, of_git
from torch_lab.tasks.table import moment
from torch_lab.utils.paths import display, project_root
from torch_lab.utils.text import format_duration

RUN, SCRIPT, EXPERIMENT, TREE = "run", "script", "experiment", "working tree"


@dataclass(frozen=True)
class Side:
    """What is compared; None where it has nothing of that kind to compare.

    `folder`: the experiment's, in the project and in `code`; `script`: its hyperparameter script's
    path there. `facts` are of the run, `machine` is what it ran on.
    """

    kind: str
    title: str
    about: str
    folder: PurePosixPath
    script: str | None = None
    id: str | None = None
    directory: Path | None = None
    hparams: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] | None = None
    machine: Mapping[str, Any] | None = None
    packages: Mapping[str, str] | None = None
    metrics: Mapping[str, MetricSummary] | None = None
    best: Best | None = None
    code: Mapping[str, bytes] | None = None
    notes: tuple[str, ...] = ()


def of_run(run: StoredRun) -> Side:
    """A run as its directory tells it."""
    record, notes = run.record, []
    code: dict[str, bytes] | None = None
    try:
        code = source.read_members(run.directory.source_bundle)
    except FileNotFoundError:
        notes.append(f"{record.name} has no source.tar.gz: its code can't be compared")
    except StoreError as error:
        notes.append(f"{error.message}: its code can't be compared")
    machine = environment.read(run.directory)
    return Side(
        RUN,
        record.name,
        _about(run),
        _folder(record),
        record.script,
        id=record.id,
        directory=run.directory.path,
        hparams=record.hparams,
        facts=_facts(record) | of_git(git.recorded(run.directory.git_diff)),
        machine=comparable(machine) | _processes(run) if machine else None,
        packages=machine.get("packages") or None,
        metrics=record.metrics,
        best=record.best,
        code=code,
        notes=tuple(notes),
    )


def _processes(run: StoredRun) -> dict[str, Any]:
    return {"processes": machines.processes(run.record, len(machines.others(run.directory))) or "1"}


def of_script(path: Path, kind: str = SCRIPT) -> Side:
    """A hyperparameter script, and its experiment's code, as they are now."""
    experiment = experiments.find(path)
    values = _Values.of(experiment)
    return _now(experiment, kind, display(path), values)


def of_experiment(folder: Path) -> Side:
    """An experiment as it is now, with the values of its hparams.py, or of its only script."""
    scripts = listing.scripts(folder)
    if scripts[:1] == ["hparams"] or len(scripts) == 1:
        side = of_script(folder / f"{scripts[0]}.py", EXPERIMENT)
        return replace(side, title=display(folder), about=f"experiment, with {scripts[0]}.py")
    why = "several scripts, none of them hparams.py" if scripts else "no hyperparameter script"
    experiment = Experiment(folder, folder.name, folder, "", project_root(folder))
    note = f"{display(folder)} has {why}: its hyperparameters aren't compared"
    return _now(experiment, EXPERIMENT, display(folder), _Values(None, (note,)))


def of_working_tree(run: StoredRun) -> Side:
    """A run's script in the working tree, with what the run was begun with, and this machine."""
    experiment = _experiment_now(run)
    record = run.record
    if experiment.script.is_file():
        overrides = [text for text in record.overrides if not text.endswith(MASK)]
        values = _Values.of(experiment, overrides, record.dev_run)
    else:
        gone = f"{display(experiment.script)} is gone: hyperparameters aren't compared"
        values = _Values(None, (gone,))
    machine = decode(encode(environment.collect()))
    side = _now(experiment, TREE, "the working tree", values)
    return replace(
        side,
        facts=_facts(record) | of_git(git.head(experiment.root)),  # only these can be others by now
        machine=comparable(machine) | _processes(run),  # nobody knows how it will be started
        packages=machine["packages"],
    )


def is_hparams(code: bytes) -> bool:
    """Whether a script defines hyperparameters."""
    return any(line.startswith(b"hparams") for line in code.splitlines())


@dataclass(frozen=True)
class _Values:
    """A script's values as a run would record them, and what is wrong with them."""

    hparams: Mapping[str, Any] | None
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        overrides: Sequence[str] = (),
        dev_run: float | None = None,
    ) -> _Values:
        try:
            return cls(_as_recorded(_loaded(experiment, overrides, dev_run)))
        except TorchLabError as error:
            note = " ".join(line.strip() for line in error.message.splitlines())
        try:
            return cls(_as_recorded(script_hparams(experiment.script)), (note,))
        except TorchLabError:
            return cls(None, (f"hyperparameters aren't compared: {note}",))


def _loaded(
    experiment: Experiment, overrides: Sequence[str], dev_run: float | None
) -> dict[str, Any]:
    hparams = hyperparameters.load(
        experiment.script,
        overrides=overrides,
        dev_run=dev_run,
        config_type=experiments.config_type(experiment, "train_config"),
    ).as_dict()
    project = settings_.load(experiment.script).default_project
    if project is not None:
        hparams["task"] = {"project_name": project, **hparams["task"]}
    return hparams


def _as_recorded(hparams: Mapping[Any, Any]) -> dict[str, Any]:
    """Masked, and what can't be rebuilt by its repr, as in run.json."""
    recorded: dict[str, Any] = decode(encode(mask(hparams)))
    return recorded


def _now(experiment: Experiment, kind: str, title: str, values: _Values) -> Side:
    code = source.members(experiment.directory, experiment.root)
    inside = experiment.directory.is_relative_to(experiment.root)
    base = experiment.root if inside else experiment.directory.parent
    folder = PurePosixPath(experiment.directory.relative_to(base).as_posix())
    script = str(folder / experiment.script.name) if experiment.script_name else None
    return Side(
        kind,
        title,
        "as it is now" if kind == TREE else kind,
        folder,
        script,
        hparams=values.hparams,
        code=code,
        notes=values.notes,
    )


def _experiment_now(run: StoredRun) -> Experiment:
    """Where the run's experiment is now: artifacts may lie outside of the project."""
    record = run.record
    roots = dict.fromkeys(project_root(place) for place in (run.directory.path, Path.cwd()))
    for root in roots:
        script = root / record.script
        if record.script and (script.parent / "__main__.py").is_file():
            return Experiment(script.parent, script.parent.name, script, script.stem, root)
    raise UsageError(
        f"the experiment of run {record.name} isn't in the working tree any more:"
        f" {PurePosixPath(record.script).parent or record.experiment}",
        hint="Name what to compare it with: `lab diff RUN SCRIPT`.",
    )


def _folder(record: Record) -> PurePosixPath:
    folder = PurePosixPath(record.script).parent
    # Of a script outside of its project the bundle has the experiment's directory alone.
    outside = folder.is_absolute() or ".." in folder.parts or not folder.name
    return PurePosixPath(record.experiment) if outside else folder


def _about(run: StoredRun) -> str:
    record = run.record
    parts = [record.id[:8], run.status, moment(record.created)]
    parts.append(f"epoch {record.progress.epoch}, step {record.progress.step}")
    if record.started is not None and record.ended is not None:
        parts.append(format_duration(max(record.ended - record.started, 0.0)))
    return "  ".join(parts)


def _facts(record: Record) -> dict[str, Any]:
    """What a run was begun with beside its hyperparameters."""
    parent = record.parent
    return {
        "experiment": record.experiment,
        "script": record.script,
        "seed": record.seed,
        "dev run": record.dev_run,
        "parent": f"{parent.name} ({parent.id[:8]}), {parent.checkpoint}" if parent else None,
        "estimator": (record.estimator or {}).get("class"),
        "processes": (record.ledger or {}).get("processes"),
        "resumed": len(record.resumes) or None,
    }
