"""`lab submit`: runs handed to Slurm, with their code as it is now.

May import what tasks may; torch only where hyperparameters name a checkpoint.
"""

from __future__ import annotations

from torch_lab.tasks.submit.asked import Asked
from torch_lab.tasks.submit.submitting import submit

__all__ = ["Asked", "submit"]
