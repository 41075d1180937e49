"""`lab check`: everything that can be known before an experiment is trained.

A check is a function of a Subject that yields Findings; CHECKS has them in order. May import
what tasks may; torch and Lightning are imported with it.
"""

from __future__ import annotations

from torch_lab.tasks.check.checking import check
from torch_lab.tasks.check.checks import CHECKS, Check
from torch_lab.tasks.check.examining import examine
from torch_lab.tasks.check.findings import Finding
from torch_lab.tasks.check.subject import Subject
from torch_lab.tasks.check.telling import Report, describe

__all__ = ["CHECKS", "Check", "Finding", "Report", "Subject", "check", "describe", "examine"]
