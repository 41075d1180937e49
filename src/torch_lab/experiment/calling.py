"""The configuration functions of an experiment, called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.experiment.arguments import bind_arguments, require_config_only
from torch_lab.experiment.checking import Configuration, checked
from torch_lab.experiment.finding import Experiment
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.paths import display
from torch_lab.utils.scripts import import_script_as_module
from torch_lab.utils.text import nearest, shown

_FUNCTIONS = ("train_config", "infer_config")


def require_function(experiment: Experiment, name: str) -> Callable[..., Any]:
    """The configuration function of that name; imports the configuration script."""
    variables = vars(import_script_as_module(experiment.configuration))
    where = display(experiment.configuration)
    if name not in variables:
        functions = [key for key, value in variables.items() if inspect.isfunction(value)]
        match = nearest(name, (key for key in functions if key not in _FUNCTIONS))
        raise ConfigurationError(
            f"{where} defines no function {name}",
            hint=f'did you mean "{match}"?' if match else None,
        )
    function = variables[name]
    if not callable(function):
        raise ConfigurationError(f"{where}: {name} is no function but {shown(function)}")
    typed: Callable[..., Any] = function
    return typed


def train_configuration(experiment: Experiment, config: dict[str, Any]) -> Configuration:
    """What the experiment's `train_config` returns for a copy of `config`."""
    function = require_function(experiment, "train_config")
    require_config_only(function, "train_config")
    return checked(experiment, "train_config", function, function(plain_copy(config)))


def infer_configuration(
    experiment: Experiment, config: dict[str, Any], args: Sequence[str]
) -> Configuration:
    """What `infer_config` returns for a copy of `config` and the command line's arguments."""
    function = require_function(experiment, "infer_config")
    positional, keywords = bind_arguments(function, "infer_config", args)
    result = function(plain_copy(config), *positional, **keywords)
    return checked(experiment, "infer_config", function, result)
