"""What a run trained, built again from its record alone: code as it was, hyperparameters, weights.

May import what tasks may.
"""

from __future__ import annotations

from torch_lab.tasks.rebuilding.bundles import discard
from torch_lab.tasks.rebuilding.modules import IN_PYTHON, Rebuilt, Wording, assign, rebuild

__all__ = ["IN_PYTHON", "Rebuilt", "Wording", "assign", "discard", "rebuild"]
