"""A trained module, rebuilt from its run's record: the code as it was, hyperparameters, weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytorch_lightning as pl

from torch_lab import experiment as experiments
from torch_lab import settings as settings_
from torch_lab.access import bundles
from torch_lab.checkpoints import weights
from torch_lab.data import seeded
from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.experiment import Experiment
from torch_lab.hparams import overriding
from torch_lab.store.find import StoredRun
from torch_lab.store.secrets import MASK
from torch_lab.store.values import Opaque
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.paths import display


def rebuilt(
    run: StoredRun, checkpoint: Path, *, trust: bool, values: Mapping[str, Any]
) -> pl.LightningModule:
    """The run's module with the weights of a checkpoint that was verified."""
    if not trust:
        _require_own(run)
    config = _config(run, values)
    experiment = _experiment(run)
    with seeded(run.record.seed or 0):  # the weights it begins with give way to the checkpoint's
        module: pl.LightningModule = _module(run, experiment, config)
    weights.load_into(module, checkpoint, strict=True, trust=trust)
    module.eval()
    return module


def _require_own(run: StoredRun) -> None:
    """Refuse code that came from elsewhere: who has written it may have meant harm."""
    own = settings_.load(Path.cwd()).artifacts.resolve()
    if run.directory.path.resolve().parent != own or run.record.fetched:
        raise UsageError(
            f"run {run.record.name} is not of this project ({display(own)}):"
            " load_module would run the code that lies with it",
            hint="If you know where it comes from: load_module(trust=True).",
        )


def _config(run: StoredRun, values: Mapping[str, Any]) -> dict[str, Any]:
    hparams: dict[str, Any] = {"config": plain_copy(dict(run.record.hparams.get("config", {})))}
    overriding.put(hparams, values)
    lost = list(_lost(hparams["config"], "config"))
    if lost:
        keys = ", ".join(f"{key} ({why})" for key, why in lost)
        raise UsageError(
            f"the record of run {run.record.name} doesn't hold {keys}",
            hint=f'Give what it lacks: load_module(set={{"{lost[0][0]}": …}}).',
        )
    config: dict[str, Any] = hparams["config"]
    return config


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


def _module(run: StoredRun, experiment: Experiment, config: dict[str, Any]) -> Any:
    try:
        return experiments.train_configuration(experiment, config).module
    except Exception as error:  # noqa: BLE001  the user's code may raise anything, as without data
        training = error
    try:
        module = experiments.infer_configuration(experiment, config, ()).module
    except Exception as error:  # noqa: BLE001  as above
        raise ConfigurationError(
            f"the module of run {run.record.name} can't be rebuilt from its code"
            f"{bundles.masked(run)}\n"
            f"  train_config: {_told(training)}\n  infer_config: {_told(error)}"
        ) from training
    warnings.warn(
        f"train_config of run {run.record.name} failed ({_told(training)}):"
        " the module is the one of infer_config",
        stacklevel=5,
    )
    return module


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
