"""Ctrl-C while what takes seconds to import is imported."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def end_at_once() -> Iterator[None]:
    """Inside, Ctrl-C ends the process as the system does, where Python would raise.

    A KeyboardInterrupt that is raised while torch registers its C++ types is an uncaught C++
    exception: the process aborts, with a core dump. Nothing of a run exists yet at that time.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
