"""A way to end this process with status 1 while its interpreter is held.

No Python code can run then, in any thread, and a signal from outside ends a process with a status
of its own. The C library can: it waits for a byte in a thread of its own, and then calls `_exit`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_IN_A_THREAD = 2  # SIGEV_THREAD: what is asked for is done when the byte has come


class _Event(ctypes.Structure):
    """struct sigevent, 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("rest", ctypes.c_void_p * 5),
    )


class _Read(ctypes.Structure):
    """struct aiocb, whose end differs from library to library and is given more than enough."""

    _fields_ = (
        ("file", ctypes.c_int),
        ("operation", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("event", _Event),
        ("rest", ctypes.c_char * 256),
    )


def exit_pipe() -> int | None:
    """A descriptor: a byte that is written to it ends this process; None where that can't be.

    It stays open for as long as the process lives, for closing it would be read as the byte.
    """
    return _made(os.getpid())


@cache
def _made(_process: int) -> int | None:
    if sys.platform != "linux":
        return None
    reading, writing = os.pipe()
    try:
        if _wait_for_byte(reading):
            return writing
    except (OSError, AttributeError):  # a C library without it
        pass
    os.close(reading)
    os.close(writing)
    return None


_under_way: list[object] = []  # what the C library reads and writes must not be given back


def _wait_for_byte(reading: int) -> bool:
    library = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(1)
    request = _Read(file=reading, buffer=ctypes.addressof(buffer), size=1)
    end = ctypes.cast(library._exit, ctypes.c_void_p)
    request.event = _Event(value=1, notify=_IN_A_THREAD, function=end)
    _under_way.append((buffer, request))
    return int(library.aio_read(ctypes.byref(request))) == 0
