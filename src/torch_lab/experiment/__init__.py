"""An experiment directory: found, imported, its configuration functions called and checked.

May import errors, hparams and utils; torch and Lightning only inside functions that check their
objects.
"""

from __future__ import annotations

from torch_lab.experiment.calling import (
    Function,
    function,
    has_function,
    infer_configuration,
    require_arguments,
    require_function,
    train_configuration,
)
from torch_lab.experiment.checking import Configuration
from torch_lab.experiment.config_types import config_type
from torch_lab.experiment.finding import Experiment, find

__all__ = [
    "Configuration",
    "Experiment",
    "Function",
    "config_type",
    "find",
    "function",
    "has_function",
    "infer_configuration",
    "require_arguments",
    "require_function",
    "train_configuration",
]
