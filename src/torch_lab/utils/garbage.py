"""Python's search for garbage, put off while many objects are made that all stay."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from typing import Any

_passed_over_in: int | None = None  # the process whose searches pass over what was made to stay


@contextlib.contextmanager
def left_lying() -> Iterator[None]:
    """No search for garbage in this block: with ten thousand runs it takes a fifth of the time."""
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searches:
            gc.enable()


@contextlib.contextmanager
def made_to_stay() -> Iterator[None]:
    """No search in this block, and none ever looks at what was there at its end.

    Of the time that torch and Lightning take to import, searches are a sixth; each later one of
    the whole process would look through their objects again.
    """
    global _passed_over_in
    with left_lying():
        yield
        gc.freeze()
        _passed_over_in = os.getpid()


def objects() -> list[Any]:
    """All that this process has made and searches know; from here on they look at all of it.

    What was made to stay before this process was forked is not its own.
    """
    if _passed_over_in == os.getpid():
        gc.unfreeze()
    return gc.get_objects()
