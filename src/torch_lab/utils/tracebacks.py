"""Tracebacks that begin where the reader's own code does."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb

from torch_lab.utils.paths import display

_EMBEDDED = re.compile(r"^(?:Original )?Traceback \(most recent call last\):\n", re.MULTILINE)
_FRAME = re.compile(r'^ *File "(?P<file>[^"]*)", line \d+')
_IN_METRIC = "in metric "
_INSTALLED = {"site-packages", "dist-packages"}


def format_exception(error: BaseException) -> str:
    """The traceback of an exception and of those it came from, without the frames that led to
    the user's code.

    The exception itself stays as it is. Where no frame is the user's, it begins where torch-lab
    called others; where torch-lab itself raised it, all frames are kept. A metric's failure begins
    behind torch-lab's frames: its note tells more than they do.
    """
    shown = TracebackException.from_exception(error)
    _trim(shown)
    text = "".join(shown.format())
    return text if _mentions_user(shown) else _embedded(error) or text


def summary(error: BaseException) -> str:
    """An exception in a line: of one that a loader worker sent as text, its own kind and words."""
    message = str(error)
    sent = [*_EMBEDDED.finditer(message)]
    if not sent:
        return f"{type(error).__name__}: {message}"
    own = (line for line in message[sent[-1].end() :].splitlines() if not line.startswith(" "))
    where = message[: sent[0].start()].strip().rpartition(" in ")[2].rstrip(".")
    return f"{next(own, type(error).__name__)} (in {where})"


def user_place(error: BaseException) -> str | None:
    """The line of the user's code that led to an exception, unless its message names the file."""
    frames = [f for f in extract_tb(error.__traceback__) if is_user_file(f.filename)]
    if not frames:
        return None
    file, last = display(frames[-1].filename), frames[-1]
    return None if file in str(error) else f"{file}:{last.lineno}: {last.line}"


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
    in_metric = any(note.startswith(_IN_METRIC) for note in _notes(shown))
    shown.stack = _from_user(shown.stack, behind_ours=in_metric)
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _trim(other)


def _notes(shown: TracebackException) -> Sequence[str]:
    notes = getattr(shown, "__notes__", None)
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def _from_user(stack: StackSummary, *, behind_ours: bool) -> StackSummary:
    files = [frame.filename for frame in stack]
    first = _first_shown(files)
    if behind_ours and files and _is_ours(files[first]) and not _is_ours(files[-1]):
        first += 1
    kept: list[FrameSummary] = stack[first:]
    return StackSummary.from_list(kept)


def _first_shown(files: Sequence[str]) -> int:
    """The frame to begin with: the user's first, else the last one of torch-lab's."""
    own = [i for i, file in enumerate(files) if _is_ours(file)]
    entry = 0 if not own or own[-1] == len(files) - 1 else own[-1]
    return next((i for i, file in enumerate(files) if is_user_file(file)), entry)


def _is_ours(filename: str) -> bool:
    return any(Path(filename).is_relative_to(folder) for folder in _library_folders()[:2])


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
    frames = [(i, at["file"]) for i, line in enumerate(lines) if (at := _FRAME.match(line))]
    first = frames[_first_shown([file for _, file in frames])][0] if frames else 0
    notes = "".join(f"{note}\n" for note in getattr(error, "__notes__", ()))
    return f"{message[: found.end()]}{''.join(lines[first:]).rstrip()}\n{notes}"
