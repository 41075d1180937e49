"""`lab init`: a new project from the files in template/.

May import what tasks may; torch is none of it.
"""

from __future__ import annotations

from torch_lab.tasks.init.project import Made, describe, init

__all__ = ["Made", "describe", "init"]
