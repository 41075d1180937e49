"""What a sweep searches for, and how: the dict SWEEP of its script, options over it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch_lab.errors import ScriptError, SweepError, UsageError
from torch_lab.experiment import Experiment
from torch_lab.utils.metric_names import usual_mode
from torch_lab.utils.paths import display
from torch_lab.utils.scripts import import_script_as_module
from torch_lab.utils.text import shown, suggestion

GRID, NONE = "grid", "none"
SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    GRID: None,  # torch-lab's own: Optuna's may try a combination twice
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
    "nsgaii": "NSGAIISampler",
}
PRUNERS = {
    NONE: None,
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "threshold": "ThresholdPruner",
}
_NEEDED = {"cmaes": "cmaes", "gp": "scipy", "qmc": "scipy"}
DEFAULT_TRIALS = 20
INSTALL = "pip install 'torch-lab[sweep]' installs it"
_OPTIONS = {"trials": "--trials", "metric": "--metric", "mode": "--mode", "storage": "--storage"}


@dataclass(frozen=True)
class Design:
    """A sweep as its script and the command line want it; `trials` None: a whole grid."""

    name: str
    metric: str = "loss/validate"
    mode: str = "min"
    trials: int | None = None
    sampler: str = "tpe"
    sampler_kwargs: Mapping[str, Any] = field(default_factory=dict)
    pruner: str = NONE
    pruner_kwargs: Mapping[str, Any] = field(default_factory=dict)
    storage: str | None = None
    seed: int = 0

    @property
    def sign(self) -> int:
        """What a value is multiplied with so that less is better."""
        return 1 if self.mode == "min" else -1


Sweep = Callable[[Any], Mapping[str, Any]]


def read(experiment: Experiment, options: Mapping[str, Any]) -> tuple[Design, Sweep]:
    """The design of a script, and its function `sweep`; SweepError with all that is wrong."""
    require_optuna()
    variables = vars(import_script_as_module(experiment.script))
    where = display(experiment.script)
    sweep = variables.get("sweep")
    if not callable(sweep):
        raise ScriptError(
            f"{where} has no function sweep(trial)",
            hint='It says what to try: def sweep(trial): return {"config.learning_rate":'
            ' trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)}',
        )
    design = _design(experiment.run_prefix, variables.get("SWEEP", {}), options, where)
    _require(_NEEDED.get(design.sampler), f"the sampler {design.sampler}")
    return design, sweep


def require_optuna() -> None:
    """Say how Optuna is installed where it isn't."""
    if find_spec("optuna") is None:
        raise UsageError("lab sweep searches with optuna, which is not installed", hint=INSTALL)


def _require(package: str | None, what: str) -> None:
    """What Optuna itself would miss in the midst of a search."""
    if package is not None and find_spec(package) is None:
        raise UsageError(
            f"{what} needs {package}, which is not installed", hint=f"pip install {package}"
        )


def _design(name: str, given: object, options: Mapping[str, Any], where: str) -> Design:
    if not isinstance(given, Mapping):
        raise SweepError(where, [f"SWEEP: expected a dict, got {shown(given)}"])
    problems = [
        f"SWEEP[{key!r}]: unknown key; {suggestion(str(key), _KINDS)}"
        for key in given
        if key not in _KINDS
    ]
    values = {key: value for key, value in given.items() if key in _KINDS}
    values |= {key: value for key, value in options.items() if value is not None}
    for key, value in values.items():
        expected, accepts = _KINDS[key]
        if not accepts(value):
            problems.append(f"{_named(key, options)}: expected {expected}, got {shown(value)}")
    problems += [*_kwargs_problems("sampler", SAMPLERS, values)]
    problems += [*_kwargs_problems("pruner", PRUNERS, values)]
    mode = values.get("mode") or usual_mode(str(values.get("metric", "loss/validate")))
    if mode is None:
        problems.append(
            f"SWEEP['mode']: is the least {values['metric']} the best, or the greatest?"
            ' "min" or "max" says it (or --mode)'
        )
    if problems:
        raise SweepError(where, problems)
    return replace(Design(name), **values | {"mode": mode, "name": values.get("name", name)})


def _named(key: str, options: Mapping[str, Any]) -> str:
    return _OPTIONS[key] if options.get(key) is not None else f"SWEEP[{key!r}]"


def _kwargs_problems(
    what: str, known: Mapping[str, str | None], values: Mapping[str, Any]
) -> list[str]:
    """What is wrong with the keyword arguments of a sampler or pruner."""
    kwargs, name = values.get(f"{what}_kwargs") or {}, values.get(what)
    if not isinstance(kwargs, Mapping) or (name is not None and name not in known):
        return []
    kind = _class(what, known.get(name or {"sampler": "tpe", "pruner": NONE}[what]))
    if kind is None:
        given = f"SWEEP['{what}_kwargs']: {', '.join(map(str, kwargs))}"
        return [f"{given}: there is nothing that takes them"] if kwargs else []
    parameters = inspect.signature(kind).parameters
    free = [each for each in parameters if each != "seed"]
    problems = [
        f"SWEEP['{what}_kwargs'][{key!r}]: unknown; {suggestion(str(key), free)}"
        for key in kwargs
        if key not in free
    ]
    required = [n for n in free if parameters[n].default is inspect.Parameter.empty]
    missing = [n for n in required if n not in kwargs and n != "kwargs"]
    return problems + [f"SWEEP['{what}_kwargs'][{each!r}]: missing" for each in missing]


def _class(what: str, name: str | None) -> type | None:
    if name is None:
        return None
    from optuna import pruners, samplers

    found: type = getattr({"sampler": samplers, "pruner": pruners}[what], name)
    return found


def made_sampler(design: Design, seed: int) -> Any:
    """The sampler of a design, for one trial."""
    kind = _class("sampler", SAMPLERS[design.sampler] or "RandomSampler")
    assert kind is not None
    return _made(kind, design.sampler_kwargs, "sampler", seed=seed)


def made_pruner(design: Design) -> Any:
    """The pruner of a design; one that never prunes where it has none."""
    kind = _class("pruner", PRUNERS[design.pruner] or "NopPruner")
    assert kind is not None
    return _made(kind, design.pruner_kwargs, "pruner")


def _made(kind: type, kwargs: Mapping[str, Any], what: str, **own: Any) -> Any:
    import warnings

    from optuna.exceptions import ExperimentalWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return kind(**{**own, **kwargs})
    except (TypeError, ValueError) as error:
        raise UsageError(f"SWEEP['{what}_kwargs']: {error}") from error
    except ImportError as error:
        hint = f"pip install {error.name}" if error.name else INSTALL
        raise UsageError(f"the {what} {kind.__name__}: {error}", hint=hint) from error


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_storage(value: object) -> bool:
    return isinstance(value, Path) or _is_text(value)


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "metric": ("a metric's name", _is_text),
    "mode": ('"min" or "max"', lambda value: value in ("min", "max")),
    "trials": ("a positive int", _is_count),
    "sampler": (f"one of {', '.join(SAMPLERS)}", lambda value: value in SAMPLERS),
    "sampler_kwargs": ("a dict", lambda value: isinstance(value, Mapping)),
    "pruner": (f"one of {', '.join(PRUNERS)}", lambda value: value in PRUNERS),
    "pruner_kwargs": ("a dict", lambda value: isinstance(value, Mapping)),
    "storage": ("a file or a URL", _is_storage),
    "name": ("a name", _is_text),
    "seed": ("an int", lambda value: type(value) is int),
}
