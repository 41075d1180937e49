"""Callbacks that a run adds to the Trainer, and that experiments may add themselves.

Level 2: may import store and everything below; never engine, tasks or cli.
"""

from __future__ import annotations

from torch_lab.callbacks.checkpoint import RunCheckpoint
from torch_lab.callbacks.nan import NanMonitor
from torch_lab.callbacks.progress import EpochProgress

__all__ = ["EpochProgress", "NanMonitor", "RunCheckpoint"]
