"""The check of a hyperparameter dict: every mistake in it, reported together."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch_lab.errors import HparamsError
from torch_lab.hparams import lines, typed
from torch_lab.hparams.kinds import NAME, NAMES, POSITIVE, POSITIVE_INT, Kind, is_int, one_of
from torch_lab.hparams.kinds import optional as _optional
from torch_lab.hparams.lightning import trainer_kwargs
from torch_lab.hparams.sections import CheckpointSection, Hparams, TrainerSection
from torch_lab.hparams.structures import is_instance, plain
from torch_lab.utils import twins
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.paths import display
from torch_lab.utils.text import shown, suggestion

SECTIONS = ("task", "checkpoint", "trainer", "seed", "config")
TRAINER_SECTIONS = ("init", "fit", "validate", "predict")
DEFAULT_SEED = 0
SEED = Kind(
    "an int from 0 to 4294967295, or None to draw one",
    lambda value: value is None or (is_int(value) and 0 <= value < 2**32),
)
CHECKPOINT: dict[str, Kind] = {
    "checkpoint_task_id": _optional(
        Kind(
            "a run, a ClearML task id or a .ckpt file",
            lambda value: isinstance(value, (str, os.PathLike)) and bool(os.fspath(value)),
        )
    ),
    "checkpoint_name": NAME,
    "weights_only": one_of("bool"),
    "strict": one_of("bool"),
    "every_n_steps": _optional(POSITIVE_INT),
    "every_minutes": _optional(POSITIVE),
    "keep": _optional(POSITIVE_INT),
}
_SWITCH = one_of("bool", "dict")
_WITHOUT_MEANING: dict[str, Kind] = {  # what clearml.Task.init takes, and torch-lab does itself
    "task_name": one_of("str", "None"),
    "reuse_last_task_id": one_of("bool", "str"),
    "continue_last_task": one_of("bool", "str", "int"),
    "auto_connect_arg_parser": _SWITCH,
    "auto_connect_frameworks": _SWITCH,
    "auto_connect_streams": _SWITCH,
    "auto_resource_monitoring": _SWITCH,
    "deferred_init": one_of("bool"),
}
TASK: dict[str, Kind] = {
    "project_name": _optional(NAME),
    "task_type": one_of("str", "enum", "None"),
    "tags": _optional(NAMES),
    "output_uri": one_of("str", "bool", "None"),
    "sdk": one_of("bool"),
    **_WITHOUT_MEANING,
}
_MOVED = {"task.init": "what it holds stands in task itself, one level up"}
_OLD = {
    "gpus": "devices, with accelerator",
    "num_processes": "devices, with accelerator",
    "distributed_backend": "strategy",
    "resume_from_checkpoint": 'the section "checkpoint"',
    "checkpoint_callback": "enable_checkpointing",
    "weights_summary": "enable_model_summary",
    "progress_bar_refresh_rate": "enable_progress_bar",
    "stochastic_weight_avg": "the callback StochasticWeightAveraging",
    "auto_lr_find": "the callback LearningRateFinder",
    "auto_scale_batch_size": "the callback BatchSizeFinder",
    "replace_sampler_ddp": "use_distributed_sampler",
}
_TRAINER_DEFAULTS = {
    "max_epochs": -1,
    "num_sanity_val_steps": 0,
    "accelerator": "auto",
    "devices": "auto",
}
_DATA = "comes from what the configuration script returns; remove it"
_FORBIDDEN = {
    "model": _DATA,
    "dataloaders": _DATA,
    "train_dataloaders": _DATA,
    "val_dataloaders": _DATA,
    "datamodule": _DATA,
    "weights_only": "may not be set: no checkpoint that could run code is loaded; remove it",
    "return_predictions": "may not be set: callbacks write the predictions; remove it",
}


def check(
    raw: object,
    source: Path | str = "hparams",
    *,
    config_type: Any = None,
    awaited: Collection[str] = (),
) -> Hparams:
    """Frozen hyperparameters from a dict, which stays as it is; HparamsError names all mistakes.

    With `config_type`, a dataclass or the like, the config is checked too; fields that it lacks
    are no mistake if they are `awaited`.
    """
    if not isinstance(raw, dict):
        raise HparamsError(_named(source), [f"hparams: expected a dict, got {shown(raw)}"])
    checker = _Checker(config_type, awaited)
    hparams = checker.hparams(plain_copy(raw), source if isinstance(source, Path) else None)
    if checker.problems:
        problems = checker.problems
        if isinstance(source, Path):
            problems = lines.located(source, problems)
        raise HparamsError(_named(source), problems)
    return hparams


def _named(source: Path | str) -> str:
    return display(source) if isinstance(source, Path) else source


class _Checker:
    """Goes through the sections, collecting problems instead of stopping at the first."""

    def __init__(self, config_type: Any, awaited: Collection[str]) -> None:
        self._config_type = config_type
        self._awaited = awaited
        self.problems: list[str] = []

    def hparams(self, raw: dict[Any, Any], path: Path | None) -> Hparams:
        self._refuse_unknown("", raw, SECTIONS)
        task = self._fields("task", self._section(raw, "task"), TASK)
        chosen = raw.get("checkpoint", {})
        raw_checkpoint = {} if chosen is None else self._dict("checkpoint", chosen)
        checkpoint = self._fields("checkpoint", raw_checkpoint, CHECKPOINT)
        trainer = self._trainer(self._section(raw, "trainer"))
        self._refuse_twins(trainer.init, [path] if path else [])
        seed = raw.get("seed", DEFAULT_SEED)
        self._value("seed", seed, SEED)
        given = raw.get("config", {})
        config = self._dict("config", plain(given) if is_instance(given) else given)
        resolved = self._resolved(config)
        if self.problems:  # the values may not even convert
            return Hparams(path, task, CheckpointSection(), trainer, None, config)
        return Hparams(
            path=path,
            task=task,
            checkpoint=_checkpoint_section(checkpoint),
            trainer=trainer,
            seed=None if seed is None else int(seed),
            config=config,
            notices=tuple(_notices(task, checkpoint)),
            resolved=resolved,
        )

    def _resolved(self, config: dict[Any, Any]) -> dict[Any, Any] | None:
        if self._config_type is None:
            return None
        return typed.resolved(self._config_type, config, self.problems, self._awaited)

    def _trainer(self, raw: dict[Any, Any]) -> TrainerSection:
        self._refuse_unknown("trainer.", raw, TRAINER_SECTIONS)
        given: dict[str, Any] = {}
        for name in TRAINER_SECTIONS:
            value = raw.get(name, {})
            if name == "validate" and value is None:
                given[name] = None
                continue
            where = f"trainer.{name}"
            expected = "a dict, or None for no validation before fit" * (name == "validate")
            kwargs = self._dict(where, value, expected or "a dict")
            given[name] = self._kwargs(where, kwargs, name)
        given["init"] = {**_TRAINER_DEFAULTS, **given["init"]}
        return TrainerSection(**given)

    def _kwargs(self, where: str, kwargs: dict[Any, Any], section: str) -> dict[str, Any]:
        allowed = dict(kwargs)
        for key in _FORBIDDEN:
            if key in allowed:
                del allowed[key]
                self.problems.append(f"{where}.{key}: {_FORBIDDEN[key]}")
        if not allowed:
            return {}
        known = {k: v for k, v in trainer_kwargs(section).items() if k not in _FORBIDDEN}
        return self._fields(where, allowed, known)

    def _refuse_twins(self, init: dict[str, Any], scripts: list[Path]) -> None:
        """Loggers, plugins and the like, alone or in lists."""
        for key, value in init.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            if any(map(twins.is_twin, values)):
                self.problems.append(twins.problem(f"trainer.init.{key}", values, scripts))

    def _fields(
        self, where: str, values: dict[Any, Any], kinds: Mapping[str, Kind]
    ) -> dict[str, Any]:
        self._refuse_unknown(f"{where}.", values, kinds)
        for key, kind in kinds.items():
            if key in values:
                self._value(f"{where}.{key}", values[key], kind)
        return values

    def _section(self, raw: dict[Any, Any], name: str) -> dict[Any, Any]:
        return self._dict(name, raw.get(name, {}))

    def _dict(self, where: str, value: object, expected: str = "a dict") -> dict[Any, Any]:
        if isinstance(value, dict):
            return value
        self.problems.append(f"{where}: expected {expected}, got {shown(value)}")
        return {}

    def _value(self, where: str, value: object, kind: Kind) -> None:
        if not kind.accepts(value):
            self.problems.append(f"{where}: expected {kind.expected}, got {shown(value)}")

    def _refuse_unknown(self, where: str, values: dict[Any, Any], known: Iterable[str]) -> None:
        names = [*known]
        for key in values:
            if key not in names:
                better = _moved(where, key) or suggestion(str(key), names)
                self.problems.append(f"{where}{key}: unknown key; {better}")


def _moved(where: str, key: Any) -> str | None:
    """Where the key of one place belongs instead."""
    if where in ("", "trainer.") and key in trainer_kwargs("init"):
        return f'did you mean "trainer.init.{key}"?'
    if where == "trainer.init." and key in _OLD:
        return f"in Lightning 2 it is {_OLD[key]}"
    return _MOVED.get(f"{where}{key}")


def _checkpoint_section(values: dict[str, Any]) -> CheckpointSection:
    start = values.get("checkpoint_task_id")
    if start is not None:
        values = {**values, "checkpoint_task_id": os.fspath(start)}
    return CheckpointSection(**values)


def _notices(task: dict[str, Any], checkpoint: dict[str, Any]) -> list[str]:
    notices = [f"task.{key} has no effect here" for key in _WITHOUT_MEANING if key in task]
    if not checkpoint.get("strict", True) and not checkpoint.get("weights_only", False):
        notices.append("checkpoint.strict has an effect only with checkpoint.weights_only True")
    return notices
