"""Background threads that leave signals to the main one."""

from __future__ import annotations

import signal

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def leave_signals_to_main() -> None:
    """Called first in a background thread, on Unix.

    The system gives a signal to any thread that takes it. Python's handler then waits for the
    main thread, and nothing wakes that one from a sleep.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
