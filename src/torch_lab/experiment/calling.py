"""The configuration functions of an experiment, called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.experiment import missing_keys
from torch_lab.experiment.arguments import bind_arguments, remarks, require_config_only
from torch_lab.experiment.checking import Configuration, checked
from torch_lab.experiment.config_types import type_of_config
from torch_lab.experiment.finding import Experiment
from torch_lab.experiment.signatures import shown_signature, where
from torch_lab.hparams import typed
from torch_lab.utils.at_hand import at_hand
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.paths import display
from torch_lab.utils.scripts import import_script_as_module
from torch_lab.utils.text import nearest, shown

_FUNCTIONS = ("train_config", "infer_config")


def require_function(experiment: Experiment, name: str) -> Callable[..., Any]:
    """The configuration function of that name; imports the configuration script."""
    variables = vars(import_script_as_module(experiment.configuration))
    script = display(experiment.configuration)
    if name not in variables:
        functions = [key for key, value in variables.items() if inspect.isfunction(value)]
        match = nearest(name, (key for key in functions if key not in _FUNCTIONS))
        raise ConfigurationError(
            f"{script} defines no function {name}",
            hint=f'did you mean "{match}"?' if match else None,
        )
    found: Callable[..., Any] = variables[name]
    if not callable(found):
        raise ConfigurationError(f"{script}: {name} is no function but {shown(found)}")
    return found


def has_function(experiment: Experiment, name: str) -> bool:
    """Whether the configuration script defines it."""
    try:
        require_function(experiment, name)
    except ConfigurationError:
        return False
    return True


@dataclass(frozen=True)
class Function:
    """A configuration function as a listing shows it."""

    name: str
    signature: str
    where: str
    config_type: Any


def function(experiment: Experiment, name: str) -> Function:
    """What is to be known of the configuration function of that name."""
    found = require_function(experiment, name)
    return Function(name, shown_signature(found, name), where(found), type_of_config(found, name))


def require_arguments(experiment: Experiment, args: Sequence[str]) -> list[str]:
    """Refuse words of the command line that `infer_config` doesn't take, or a missing function.

    Returns what is to be said of those that it takes.
    """
    found = require_function(experiment, "infer_config")
    bind_arguments(found, "infer_config", args)
    return remarks(found, "infer_config", args)


def train_configuration(
    experiment: Experiment, config: dict[str, Any], watch: Callable[[Any], Any] | None = None
) -> Configuration:
    """What the experiment's `train_config` returns for a copy of `config`.

    What `watch` makes of the copy is what the function gets.
    """
    found = require_function(experiment, "train_config")
    require_config_only(found, "train_config")
    return _called(experiment, "train_config", found, config, [], {}, watch)


def infer_configuration(
    experiment: Experiment, config: dict[str, Any], args: Sequence[str]
) -> Configuration:
    """What `infer_config` returns for a copy of `config` and the command line's arguments."""
    found = require_function(experiment, "infer_config")
    positional, keywords = bind_arguments(found, "infer_config", args)
    return _called(experiment, "infer_config", found, config, positional, keywords)


def _called(
    experiment: Experiment,
    name: str,
    called: Callable[..., Any],
    config: dict[str, Any],
    positional: list[object],
    keywords: dict[str, object],
    watch: Callable[[Any], Any] | None = None,
) -> Configuration:
    given = _argument(experiment, called, name, config)
    passed = given if watch is None else watch(given)
    with at_hand(config=given):
        try:
            result = called(passed, *positional, **keywords)
        except KeyError as error:
            missing_keys.tell(error, passed)
            raise
    return replace(checked(experiment, name, called, result), config=given)


def _argument(
    experiment: Experiment, called: Callable[..., Any], name: str, config: dict[str, Any]
) -> Any:
    """A copy of the config as the function's annotation asks for it."""
    kind = type_of_config(called, name)
    if kind is None:
        return plain_copy(config)
    return typed.instance(kind, config, display(experiment.script))
