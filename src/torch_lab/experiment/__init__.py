"""An experiment directory: found, imported, its configuration functions called and checked.

May import errors and utils; torch and Lightning only inside functions that check their objects.
"""

from __future__ import annotations

from torch_lab.experiment.calling import (
    infer_configuration,
    require_function,
    train_configuration,
)
from torch_lab.experiment.checking import Configuration
from torch_lab.experiment.finding import Experiment, find

__all__ = [
    "Configuration",
    "Experiment",
    "find",
    "infer_configuration",
    "require_function",
    "train_configuration",
]
