"""Tracebacks that begin where the reader's own code does."""

from __future__ import annotations

import re
import sysconfig
from functools import cache
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

_EMBEDDED = re.compile(r"^(?:Original )?Traceback \(most recent call last\):\n", re.MULTILINE)
_FRAME = re.compile(r'^ *File "(?P<file>[^"]*)", line \d+')
_INSTALLED = {"site-packages", "dist-packages"}


def format_exception(error: BaseException) -> str:
    """The traceback of an exception and of those it came from, without the frames that led to
    the user's code.

    The exception itself stays as it is. Where no frame is the user's, all are kept.
    """
    shown = TracebackException.from_exception(error)
    _trim(shown)
    text = "".join(shown.format())
    return text if _mentions_user(shown) else _embedded(error) or text


def is_user_file(filename: str) -> bool:
    """Whether a frame's file is neither torch-lab's, an installed package's nor Python's own."""
    if filename.startswith("<"):
        return False
    path = Path(filename)
    if not _INSTALLED.isdisjoint(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in _library_folders())


@cache
def _library_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    package = Path(__file__).parents[1]
    return (package, package.resolve(), Path(paths["stdlib"]), Path(paths["platstdlib"]))


def _trim(shown: TracebackException) -> None:
    shown.stack = _from_user(shown.stack)
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _trim(other)


def _from_user(stack: StackSummary) -> StackSummary:
    first = next((i for i, frame in enumerate(stack) if is_user_file(frame.filename)), 0)
    kept: list[FrameSummary] = stack[first:]
    return StackSummary.from_list(kept)


def _mentions_user(shown: TracebackException) -> bool:
    if any(is_user_file(frame.filename) for frame in shown.stack):
        return True
    others = (shown.__cause__, shown.__context__, *(shown.exceptions or ()))
    return any(other is not None and _mentions_user(other) for other in others)


def _embedded(error: BaseException) -> str | None:
    """The traceback a loader worker or a spawned rank sent as text, likewise trimmed."""
    message = str(error)
    found = _EMBEDDED.search(message)
    if found is None:
        return None
    lines = message[found.end() :].splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if _is_user_line(line)), 0)
    return f"{message[: found.end()]}{''.join(lines[first:]).rstrip()}\n"


def _is_user_line(line: str) -> bool:
    found = _FRAME.match(line)
    return found is not None and is_user_file(found["file"])
