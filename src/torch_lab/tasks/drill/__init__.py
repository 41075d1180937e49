"""`lab check --drill`: a short copy of an experiment, killed and resumed, compared with one that
was not.

May import what tasks may; torch is imported by the processes that it starts.
"""

from __future__ import annotations

from torch_lab.tasks.drill.rehearsal import drill

__all__ = ["drill"]
