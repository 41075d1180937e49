"""A bound on the time that foreign code takes, whatever it loops over and catches."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch_lab.errors import ServerUnreachable
from torch_lab.utils.text import format_duration

_AGAIN = 0.1  # seconds: code that swallowed the interruption is interrupted again
_AT_ONCE = 0.001  # seconds: a timer set to 0 would never ring
LONGEST = 30 * 24 * 3600.0  # seconds: timers take no number of any size


class _Expired(BaseException):
    """The time is up; no `except Exception` between here and the block's end stops it."""


class _State:
    """The blocks that are open, and whom SIGALRM belonged to before the first of them."""

    def __init__(self) -> None:
        self.ends: list[float] = []  # the innermost last, and none later than those before it
        self.interrupting = False
        self.handler: Callable[[int, FrameType | None], Any] | int | None = None
        self.timer = (0.0, 0.0)
        self.since = 0.0


_state = _State()


def remaining() -> float | None:
    """Seconds until the deadlines around this call end it; None where there is none."""
    return max(0.0, _state.ends[-1] - time.monotonic()) if _state.ends else None


@contextmanager
def deadline(seconds: float, waiting_for: str = "the ClearML server") -> Iterator[None]:
    """End the block after so many seconds with ServerUnreachable, in the main thread alone.

    It interrupts by SIGALRM, so endless loops, `except:` and blocking reads do not outlast it.
    Blocks nest: an inner one never lasts longer than those around it.
    """
    _state.interrupting = False  # until the timer runs for this block
    end = time.monotonic() + min(seconds, LONGEST)
    own = not _state.ends or end < _state.ends[-1]
    if not _state.ends:
        _take_over()
    _state.ends.append(end if own else _state.ends[-1])
    try:
        _arm()
        try:
            yield
        finally:
            _state.interrupting = False
    except _Expired:
        if not own:
            raise  # the block around this one ends by the same moment, and says so
        raise _too_late(seconds, waiting_for) from None
    finally:
        _state.ends.pop()
        if _state.ends:
            _arm()
        else:
            _give_back()


def _too_late(seconds: float, waiting_for: str) -> ServerUnreachable:
    return ServerUnreachable(f"{waiting_for} did not answer within {format_duration(seconds)}")


def _arm() -> None:
    """Set the timer for the innermost block that is open."""
    _state.interrupting = True
    signal.setitimer(signal.ITIMER_REAL, max(remaining() or 0.0, _AT_ONCE), _AGAIN)


def _take_over() -> None:
    _state.since = time.monotonic()
    _state.handler = signal.signal(signal.SIGALRM, _interrupt)
    _state.timer = signal.setitimer(signal.ITIMER_REAL, 0)


def _give_back() -> None:
    """Leave SIGALRM as it was found, with what is left on its timer."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, _state.handler)
    left, interval = _state.timer
    if left:
        left -= time.monotonic() - _state.since
        signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE), interval)


def _interrupt(_signum: int, frame: FrameType | None) -> None:
    # On the way into a block or out of it nothing could catch the exception; the timer goes on.
    within = frame is not None and frame.f_code.co_filename in (__file__, contextlib.__file__)
    if _state.interrupting and not within:
        raise _Expired
