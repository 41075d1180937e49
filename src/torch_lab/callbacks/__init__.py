"""Callbacks that a run adds to the Trainer, and that experiments may add themselves.

Level 2: may import store and everything below; never engine, tasks or cli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_lab.callbacks import compatibility as _compatibility
from torch_lab.callbacks.checkpoint import RunCheckpoint
from torch_lab.callbacks.memory import DeviceMemory
from torch_lab.callbacks.nan import NanMonitor
from torch_lab.callbacks.predictions import PredictionWriter
from torch_lab.callbacks.progress import EpochProgress
from torch_lab.utils.deprecation import deprecated as _deprecated

if TYPE_CHECKING:
    from torch_lab.callbacks.compatibility import ClearMLModelCheckpoint as ClearMLModelCheckpoint
    from torch_lab.callbacks.compatibility import ClearMLTaskMarker as ClearMLTaskMarker

__all__ = ["DeviceMemory", "EpochProgress", "NanMonitor", "PredictionWriter", "RunCheckpoint"]


def __getattr__(name: str) -> object:
    if name not in _compatibility.DEPRECATED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _deprecated(f"{__name__}.{name}", _compatibility.DEPRECATED[name])
    return getattr(_compatibility, name)
