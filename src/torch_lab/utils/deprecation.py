"""Names that torch-lab keeps for 1.x experiments: each says once what takes its place."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from types import FrameType

from torch_lab.utils.paths import display

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_said: set[str] = set()


def deprecated(name: str, instead: str) -> None:
    """Say on standard error, once per name, that `name` is deprecated and what to do instead.

    A line and no warning: a run that turns warnings into errors must not die of an old name.
    """
    if name in _said or _is_copy():
        return
    _said.add(name)
    print(f"{_where()}{name} is deprecated: {instead}", file=sys.stderr)


def user_frame() -> FrameType | None:
    """The innermost frame that is neither torch-lab's nor the import system's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_inside(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _is_inside(file: str) -> bool:
    return file.startswith((_PACKAGE, "<frozen "))


def _where() -> str:
    frame = user_frame()
    if frame is None or frame.f_code.co_filename.startswith("<"):
        return ""
    return f"{display(frame.f_code.co_filename)}:{frame.f_lineno}: "


def _is_copy() -> bool:
    """Whether this process runs the same code as another: a loader worker, a further rank."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK"))
    return multiprocessing.parent_process() is not None or any(r not in ("", "0") for r in ranks)
