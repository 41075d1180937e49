"""A run's directory as the processes on other machines find it, and what they add to it."""

from __future__ import annotations

import socket
import threading
import time

from torch_lab.errors import StoreError
from torch_lab.store import environment
from torch_lab.store.paths import RunDirectory
from torch_lab.tasks.plan import say
from torch_lab.utils.launched import Launch
from torch_lab.utils.threads import leave_signals_to_main

_PATIENCE = 15.0  # seconds until a network file system shows what another machine has made


def join(directory: RunDirectory, launch: Launch) -> None:
    """See that the run is here; one process of each machine says what its machine is."""
    end = time.monotonic() + _PATIENCE
    while not directory.record_file.exists():
        if time.monotonic() > end:
            raise _missing(directory, launch)
        time.sleep(0.1)
    if launch.node > 0 and launch.local_rank == 0:
        threading.Thread(target=_describe, args=(directory, launch.node), name="machine").start()


def _missing(directory: RunDirectory, launch: Launch) -> StoreError:
    return StoreError(
        f"rank {launch.rank} on {socket.gethostname()} finds no run in {directory.path}",
        hint="The machines of a run share one artifacts folder: `artifacts` in [tool.torch-lab], or"
        " TORCH_LAB_ARTIFACTS, can name one on a file system that all of them have.",
    )


def _describe(directory: RunDirectory, node: int) -> None:
    leave_signals_to_main()
    try:
        environment.write_node(directory, node)
    except StoreError as error:
        say(f"the environment of machine {node} could not be recorded: {error}")
