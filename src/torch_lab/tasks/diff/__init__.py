"""`lab diff`: what differs between two runs, scripts or experiments.

sides.py reads each of the two, comparing.py and code.py compare them, report.py says it. May import
what lies below tasks/, and tasks/table.py; never torch.
"""

from __future__ import annotations

from torch_lab.tasks.diff.comparing import Comparison, compare
from torch_lab.tasks.diff.naming import named
from torch_lab.tasks.diff.report import as_data, describe
from torch_lab.tasks.diff.sides import Side, of_run, of_working_tree

__all__ = [
    "Comparison",
    "Side",
    "as_data",
    "compare",
    "describe",
    "named",
    "of_run",
    "of_working_tree",
]
