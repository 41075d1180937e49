"""Hyperparameters: a script's dict, checked as a whole, extended, overridden, frozen.

May import errors and utils; torch and Lightning never, at any time.
"""

from __future__ import annotations

from torch_lab.hparams.checking import check
from torch_lab.hparams.layering import extend
from torch_lab.hparams.loading import load
from torch_lab.hparams.sections import CheckpointSection, Hparams, TrainerSection
from torch_lab.utils.dev_run import parse_dev_run, set_hparams_debug_overrides

__all__ = [
    "CheckpointSection",
    "Hparams",
    "TrainerSection",
    "check",
    "extend",
    "load",
    "parse_dev_run",
    "set_hparams_debug_overrides",
]
