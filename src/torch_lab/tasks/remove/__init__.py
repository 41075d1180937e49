"""`lab rm`: runs deleted, or only their checkpoints.

rules.py reads `--keep`, choosing.py says what goes and what must stay, trash.py deletes run
directories, slimming.py checkpoints, report.py tells. May import what lies below tasks/, and
tasks/runs.py and tasks/table.py; never torch.
"""

from __future__ import annotations

from torch_lab.tasks.remove.choosing import Choice, choose
from torch_lab.tasks.remove.doing import carry_out, finish, require_done
from torch_lab.tasks.remove.report import describe, question, told
from torch_lab.tasks.remove.rules import Rules, parse_rules

__all__ = [
    "Choice",
    "Rules",
    "carry_out",
    "choose",
    "describe",
    "finish",
    "parse_rules",
    "question",
    "require_done",
    "told",
]
