"""`lab show` of a hyperparameter script: its values, the fields of its config, its runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab import settings as settings_
from torch_lab.errors import HparamsError
from torch_lab.experiment import Experiment, Function
from torch_lab.experiment import origin as origins
from torch_lab.experiment.origin import Origin
from torch_lab.hparams.annotations import alternatives, is_structure
from torch_lab.hparams.layering import script_hparams
from torch_lab.hparams.listing import Field, fields
from torch_lab.hparams.structures import MISSING, place
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.tasks import runs as listing
from torch_lab.tasks.table import columns, flatten, moment, plain
from torch_lab.utils.paths import display

_NEWEST = 5
_FUNCTIONS = ("train_config", "infer_config")


@dataclass(frozen=True)
class ScriptView:
    """A script with what is read to show it; `problem` is what is wrong with its values."""

    experiment: Experiment
    functions: tuple[Function, ...]
    hparams: dict[str, Any]
    runs: tuple[StoredRun, ...]
    problem: HparamsError | None
    origin: Origin | None = None

    @classmethod
    def of(cls, path: Path) -> ScriptView:
        """Import the script and its experiment, and look for its runs."""
        experiment = experiments.find(path)
        functions = tuple(_functions(experiment))
        config_type = functions[0].config_type if functions else None
        problem = None
        try:
            hparams = hyperparameters.load(experiment.script, config_type=config_type).as_dict()
        except HparamsError as error:  # the fields are what one wants to see then
            problem, hparams = error, script_hparams(experiment.script)
        runs = tuple(_runs(experiment))
        return cls(
            experiment, functions, hparams, runs, problem, origins.read(experiment.directory)
        )

    @property
    def config(self) -> dict[str, Any]:
        """The values that the script itself gives."""
        config = script_hparams(self.experiment.script).get("config", {})
        return config if isinstance(config, dict) else {}


def _functions(experiment: Experiment) -> Iterator[Function]:
    """Those that there are: an experiment may only train, or only infer."""
    for name in _FUNCTIONS:
        if experiments.has_function(experiment, name):
            yield experiments.function(experiment, name)


def _runs(experiment: Experiment) -> Iterator[StoredRun]:
    settings = settings_.load(experiment.script)
    wanted = (experiment.name, experiment.script_name)
    for run in find.runs(settings.artifacts, lost_after=settings.lost_after):
        if (run.brief.experiment, Path(run.brief.script).stem) == wanted:
            yield run


def describe(view: ScriptView, *, width: int | None = None, color: bool = False) -> str:
    """The script for a reader."""
    shown = view.runs[:_NEWEST]
    more = f", the newest {_NEWEST} of {len(view.runs)}" if len(view.runs) > _NEWEST else ""
    sections = [
        [display(view.experiment.script), *columns([*_origin(view.origin)])],
        ["hparams", *columns([*_values(view)])],
        *([title, *columns(rows)] for title, rows in _configs(view)),
        ["functions", *columns([(each.where, each.signature) for each in view.functions])],
        [f"runs{more}", *_table(shown, width, color)] if shown else ["no runs yet"],
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in sections if len(lines) > 1 or lines[0])


def _origin(origin: Origin | None) -> Iterator[Sequence[str]]:
    """What the experiment is a clone of."""
    if origin is None:
        return
    run = f", the code of run {origin.run.name} ({origin.run.id[:8]})" if origin.run else ""
    yield "cloned from", f"{origin.path}{run}"
    yield "cloned", moment(origin.created)
    if origin.commit:
        yield "commit", origin.commit


def as_data(view: ScriptView) -> dict[str, Any]:
    """The script for `--json`."""
    return {
        "script": str(view.experiment.script),
        "experiment": view.experiment.name,
        "cloned_from": None if view.origin is None else asdict(view.origin),
        "hparams": plain(view.hparams),
        "fields": [_field_data(each) for each in _all_fields(view)],
        "functions": [
            {"name": each.name, "signature": each.signature, "where": each.where}
            for each in view.functions
        ],
        "runs": listing.as_data(view.runs),
        "problems": list(view.problem.problems) if view.problem else [],
    }


def _values(view: ScriptView) -> Iterator[Sequence[str]]:
    """Under the keys that `--set` takes; a typed config has a section of its own."""
    typed = bool(_all_fields(view))
    for key, value in flatten(view.hparams).items():
        if not (typed and key.startswith("config.")):
            yield key, repr(value)


def _types(view: ScriptView) -> list[Any]:
    kinds = (each.config_type for each in view.functions if each.config_type is not None)
    return list(dict.fromkeys(kinds))


def _all_fields(view: ScriptView) -> list[Field]:
    found = (field for kind in _types(view) for field in fields(kind, view.config))
    return list({field.key: field for field in found}.values())


def _configs(view: ScriptView) -> Iterator[tuple[str, list[Sequence[str]]]]:
    for kind in _types(view):
        structure = next(each for each in alternatives(kind) if is_structure(each))
        rows: list[Sequence[str]] = [("", "type", "default", "script", "")]
        rows += [_row(field) for field in fields(kind, view.config)]
        yield f"config: {structure.__name__}, {place(structure)}", rows


def _row(field: Field) -> Sequence[str]:
    default = "required" if field.required else _shown(field.default)
    return f"config.{field.key}", field.type, default, _shown(field.value), field.doc


def _shown(value: Any) -> str:
    return "" if value is MISSING else repr(value)


def _field_data(field: Field) -> dict[str, Any]:
    data = {"key": f"config.{field.key}", "type": field.type, "required": field.required}
    values = {"default": field.default, "value": field.value}
    given = {name: plain(value) for name, value in values.items() if value is not MISSING}
    return {**data, **given, "doc": field.doc}


def _table(runs: Sequence[StoredRun], width: int | None, color: bool) -> list[str]:
    room = None if width is None else width - 2
    lines = listing.table(runs, width=room, color=color).splitlines()
    return [f"  {line}" for line in lines]
