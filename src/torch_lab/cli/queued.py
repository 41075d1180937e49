"""What a ClearML agent starts for a run that `train --queue` has handed over."""

from __future__ import annotations

import sys
from typing import NoReturn

from torch_lab.cli.exit import leave

# clearml-agent calls a task with this status stopped, and failed with any other but 0.
_STOPPED = 254


def main() -> NoReturn:
    """Train what the agent's task says, and tell the agent how it ended."""
    try:
        leave(_command)
    except SystemExit as end:
        signaled = isinstance(end.code, int) and end.code > 128
        sys.exit(_STOPPED if signaled else end.code)


def _command() -> None:
    from torch_lab.tasks import queued

    queued.run()
