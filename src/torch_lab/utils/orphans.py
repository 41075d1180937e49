"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

from torch_lab.utils.threads import leave_signals_to_main

_SET_PDEATHSIG = 1  # prctl: a signal for when the thread that started this process ends
_LOOK = 1.0  # seconds between two looks at whether the parent lives


def ask_system(signum: int) -> bool:
    """Have the system send this process a signal when its parent ends; whether it can."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    return int(library.prctl(_SET_PDEATHSIG, int(signum), 0, 0, 0)) == 0


def end_with(parent: int, signum: int = signal.SIGTERM) -> None:
    """Have this process get a signal when the process that started it, `parent`, has ended."""
    if not ask_system(signum):
        threading.Thread(target=_watch, args=(parent, signum), name="parent", daemon=True).start()
    elif os.getppid() != parent:  # it had ended before the system knew
        os.kill(os.getpid(), signum)


def _watch(parent: int, signum: int) -> None:
    leave_signals_to_main()
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os.kill(os.getpid(), signum)
