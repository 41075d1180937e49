"""The Lightning modules that experiments return: a model, and how it is trained.

May import errors, utils, metric_states and recording.
"""

from __future__ import annotations

from torch_lab.modules.lab import LabModule
from torch_lab.modules.train import TrainLabModule
from torch_lab.modules.weights import load_weights, model_weights

__all__ = ["LabModule", "TrainLabModule", "load_weights", "model_weights"]
