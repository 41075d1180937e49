"""torch-lab from Python: the runs there are, a trained module, a configuration that is only built.

For notebooks, scripts and debuggers. Level 3: may import tasks and everything below; torch and
Lightning only inside functions, so that runs are listed at once.
"""

from __future__ import annotations

from torch_lab.access.building import Built, build
from torch_lab.access.runs import Run, Runs, runs

__all__ = ["Built", "Run", "Runs", "build", "runs"]
