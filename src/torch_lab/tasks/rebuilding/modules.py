"""A trained module, rebuilt: from the code in the run's bundle, and with a checkpoint's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from torch_lab import experiment as experiments
from torch_lab import settings as settings_
from torch_lab.checkpoints import weights
from torch_lab.data import seeded
from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.experiment import Configuration, Experiment
from torch_lab.hparams import overriding
from torch_lab.store.find import StoredRun
from torch_lab.store.secrets import MASK
from torch_lab.store.values import Opaque
from torch_lab.tasks.rebuilding import bundles
from torch_lab.tasks.trust import is_own
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.paths import display

Change = Callable[[dict[str, Any]], None]

# Lightning converts the module itself for these; the others only change how it computes.
_TRUE_PRECISION = {
    "64-true": torch.float64,
    "64": torch.float64,
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
}


@dataclass(frozen=True)
class Wording:
    """What the user types: who runs the code, how it is trusted, how a value is given."""

    who: str
    trust: str
    value: str


def in_python(caller: str) -> Wording:
    """How it is said to who calls a method of a run."""
    return Wording(caller, f"{caller}(trust=True)", f'{caller}(set={{{{"{{key}}": …}}}})')


@dataclass(frozen=True)
class Rebuilt:
    """The module with its weights, and the configuration that it came with.

    `function` made the configuration. `root` stands for the project's root as it was. `dtype` is
    what the Trainer made of the module's weights and its inputs, None where it left them alone.
    """

    module: Any
    configuration: Configuration
    function: str
    root: Path
    dtype: torch.dtype | None


def rebuild(
    run: StoredRun,
    checkpoint: Path,
    *,
    trust: bool,
    change: Change,
    wording: Wording,
    say: Callable[[str], None],
) -> Rebuilt:
    """The run's module with the weights of a checkpoint that was verified.

    `change` gives the hyperparameters what the record lacks of them. Relative paths in code and
    hyperparameters begin at the project's root, wherever this process stands.
    """
    if not trust:
        _require_own(run, wording)
    config = _config(run, change, wording)
    experiment = _experiment(run)
    dtype = _true_precision(run)
    # The weights that the module begins with give way to the checkpoint's.
    with contextlib.chdir(experiment.root), seeded(run.record.seed or 0):
        configuration, function = _configuration(run, experiment, config, say)
        module = configuration.module
        weights.complete(module)
    if dtype is not None:
        module.to(dtype)
    weights.load_into(module, checkpoint, strict=True, trust=trust)
    module.eval()
    return Rebuilt(module, configuration, function, experiment.root, dtype)


def _require_own(run: StoredRun, wording: Wording) -> None:
    """Refuse code that came from elsewhere: who has written it may have meant harm."""
    if is_own(run):
        return
    own = settings_.load(Path.cwd()).artifacts
    raise UsageError(
        f"run {run.record.name} is not of this project ({display(own)}):"
        f" {wording.who} would run the code that lies with it",
        hint=f"If you know where it comes from: {wording.trust}.",
    )


def _config(run: StoredRun, change: Change, wording: Wording) -> dict[str, Any]:
    hparams: dict[str, Any] = {"config": plain_copy(dict(run.record.hparams.get("config", {})))}
    change(hparams)
    lost = list(_lost(hparams["config"], "config"))
    if lost:
        keys = ", ".join(f"{key} ({why})" for key, why in lost)
        raise UsageError(
            f"the record of run {run.record.name} doesn't hold {keys}",
            hint=f"Give what it lacks: {wording.value.format(key=lost[0][0])}.",
        )
    config: dict[str, Any] = hparams["config"]
    return config


def assign(hparams: dict[str, Any], texts: Sequence[str]) -> None:
    """`--set`: values of which only a repr was kept have no type that the new ones must have."""
    places = list(_opaque(hparams))
    for container, key, _ in places:
        container[key] = None
    overriding.override(hparams, texts)
    for container, key, value in places:
        if container[key] is None:
            container[key] = value


def _opaque(value: Any) -> Iterator[tuple[Any, Any, Opaque]]:
    """Where in nested dicts and lists something is whose repr alone was kept."""
    if isinstance(value, (dict, list)):
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, each in pairs:
            if isinstance(each, Opaque):
                yield value, key, each
            else:
                yield from _opaque(each)


def _lost(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """The keys of values that can't be had back, and why."""
    if isinstance(value, Opaque):
        yield key, f"only its repr was kept: {value!r}"
    elif isinstance(value, str) and MASK in value:
        yield key, "a secret, which was masked"
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _lost(item, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _lost(item, f"{key}.{number}")


def _experiment(run: StoredRun) -> Experiment:
    """The experiment as it was, unpacked; its scripts have names of their own."""
    root = bundles.unpacked(run)
    script = root.joinpath(*PurePosixPath(run.record.script).parts)
    return Experiment(script.parent, run.record.experiment, script, script.stem, root)


def _configuration(
    run: StoredRun, experiment: Experiment, config: dict[str, Any], say: Callable[[str], None]
) -> tuple[Configuration, str]:
    try:
        return experiments.train_configuration(experiment, config), "train_config"
    except Exception as error:  # noqa: BLE001  the user's code may raise anything, as without data
        training = error
    try:
        found = experiments.infer_configuration(experiment, config, ())
    except Exception as error:  # noqa: BLE001  as above
        raise ConfigurationError(
            f"the module of run {run.record.name} can't be rebuilt from its code"
            f"{bundles.masked(run)}\n"
            f"  train_config: {_told(training)}\n  infer_config: {_told(error)}"
        ) from training
    say(
        f"train_config of run {run.record.name} failed ({_told(training)}):"
        " the module is the one of infer_config"
    )
    return found, "infer_config"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _true_precision(run: StoredRun) -> torch.dtype | None:
    init = run.record.hparams.get("trainer", {}).get("init", {})
    return _TRUE_PRECISION.get(str(init.get("precision")))
