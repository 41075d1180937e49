"""`lab clone`: the next numbered experiment from an existing one, or from a run's code.

May import what tasks may; torch is none of it, and no code of the experiment is run.
"""

from __future__ import annotations

from torch_lab.tasks.clone.making import Clone, clone
from torch_lab.tasks.clone.report import describe

__all__ = ["Clone", "clone", "describe"]
