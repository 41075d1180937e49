"""What a run trained, built again from its record alone: code as it was, hyperparameters, weights.

May import what tasks may.
"""

from __future__ import annotations

from torch_lab.tasks.rebuilding.bundles import discard
from torch_lab.tasks.rebuilding.modules import Rebuilt, Wording, assign, in_python, rebuild

__all__ = ["Rebuilt", "Wording", "assign", "discard", "in_python", "rebuild"]
