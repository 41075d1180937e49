"""A trial without traces: new files are deleted after it, and nothing else may change.

Data that were fetched or prepared on the way stay, since training would only make them again.

What Python itself reports to an audit hook is seen; a library that writes by itself is not.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    Checkpoint,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelSummary,
    ProgressBar,
    ThroughputMonitor,
    Timer,
)

from torch_lab.callbacks import (
    DeviceMemory,
    EpochProgress,
    NanMonitor,
    PredictionWriter,
    RunCheckpoint,
)

_LEFT_OUT = (
    BatchSizeFinder,
    DeviceMemory,
    EpochProgress,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelSummary,
    NanMonitor,
    PredictionWriter,
    ProgressBar,
    RunCheckpoint,
    ThroughputMonitor,
    Timer,
)
_MUTED = (Checkpoint, EarlyStopping)  # a module may look at them; they save or stop nothing
_HOOKS = [
    name for name in vars(pl.Callback) if name.startswith("on_") or name in ("setup", "teardown")
]
_MAKES = {"os.mkdir": 0, "os.link": 1, "os.symlink": 1}  # which argument is made
_CHANGES = frozenset({"os.chmod", "os.remove", "os.rmdir", "os.truncate"})
_BELOW = frozenset({"os.remove", "os.rmdir"})
_REACHES_OUT = frozenset({"os.exec", "os.fork", "os.posix_spawn", "os.system"}) | {
    "smtplib.connect",
    "socket.connect",
    "subprocess.Popen",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Withheld(BaseException):
    """The experiment was about to do what a check must not; no `except Exception` of its own may
    hide it. `callback` is whose hook it was, if it was one's."""

    def __init__(self, callback: pl.Callback | None, what: str) -> None:
        super().__init__(what)
        self.callback = callback
        self.what = what


def to_try(callbacks: list[Any]) -> list[Any]:
    """Those that a short trial can have: the others search, measure or show."""
    return [each for each in callbacks if not isinstance(each, _LEFT_OUT)]


class Guard:
    """Sees what the code of an experiment does to files, and what its callbacks reach out to."""

    _armed: Guard | None = None  # an audit hook stays for the process's life: it asks here
    _installed = False

    def __init__(self, folder: Path) -> None:
        self._own = (folder, Path("/dev"), Path("/proc"), Path.home() / ".cache")
        self._made: list[Path] = []
        self._callback: pl.Callback | None = None
        self.may_connect: Callable[[], bool] = lambda: True  # to other machines, for data
        self.keeps: Callable[[], bool] = lambda: False  # what is made now: data, that is
        if not Guard._installed:
            sys.addaudithook(_audit)
            Guard._installed = True

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Inside, what is made is noted, and deleted at the end; what is there stays as it is."""
        save = torch.save
        torch.save = _announced(save)
        Guard._armed = self
        try:
            yield
        finally:
            Guard._armed = None
            torch.save = save
            self.clear_up()

    def around(self, callback: pl.Callback) -> Callable[[], None]:
        """Know when a callback's hooks run, if they may; what is returned ends that."""
        own = [name for name in _HOOKS if getattr(type(callback), name) is not _plain(name)]
        for name in own:
            hook = _nothing if isinstance(callback, _MUTED) else getattr(callback, name)
            setattr(callback, name, self._watched(callback, hook))

        def undo() -> None:
            for name in own:
                vars(callback).pop(name, None)

        return undo

    def _watched(self, callback: pl.Callback, hook: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(hook)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._callback = callback
            try:
                return hook(*args, **kwargs)
            finally:
                self._callback = None

        return watched

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Note what is made; raise where something is changed, or reached, that must not be."""
        if (what := self._refused(event, args)) is not None:
            callback, self._callback = self._callback, None
            Guard._armed = None  # what it does to tidy up is let through
            try:
                raise Withheld(callback, what)
            finally:
                Guard._armed = self

    def _refused(self, event: str, args: tuple[Any, ...]) -> str | None:
        if event == "open":
            path, mode, flags = args
            writes = any(letter in (mode or "") for letter in "wax+") or flags & _WRITES
            return f"writes to {path}" if writes and not self._make(path) else None
        if event == "os.mkdir" and os.path.lexists(_absolute(args[0])):
            return None  # it fails, and exist_ok lets that pass
        if event in _MAKES:
            return None if self._make(args[_MAKES[event]]) else f"changes {args[_MAKES[event]]}"
        if event == "os.rename":
            moved = self._may_change(args[0]) and self._make(args[1])
            return None if moved else f"moves {args[0]} to {args[1]}"
        if event in _CHANGES:
            path = _in_folder(*args[:2]) if event in _BELOW else args[0]
            return None if self._may_change(path) else f"changes {path}"
        if event not in _REACHES_OUT:
            return None
        sends = event == "socket.connect" and isinstance(args[1], tuple) and not self.may_connect()
        return f"calls {event}" if sends or self._callback is not None else None

    def _make(self, path: Any) -> bool:
        """Whether a path may be written: it is new, which is noted, or may be changed."""
        if isinstance(path, int) or self._may_change(path):
            return True
        absolute = _absolute(path)
        if os.path.lexists(absolute):
            return False
        if self._callback is not None or not self.keeps():
            self._made.append(absolute)
        return True

    def _may_change(self, path: Any) -> bool:
        if isinstance(path, int):
            return True
        absolute = _absolute(path)
        own = any(map(absolute.is_relative_to, (*self._own, *self._made)))
        return own or "__pycache__" in absolute.parts

    def clear_up(self) -> None:
        """Delete what was made."""
        armed, Guard._armed = Guard._armed, None
        for path in reversed(self._made):
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)  # all that is in it is as new
                else:
                    path.unlink()
        self._made.clear()
        Guard._armed = armed


def _in_folder(path: Any, folder: int) -> Any:
    """A path that is given relative to an open folder, as shutil.rmtree does."""
    if folder < 0 or isinstance(path, int):
        return path
    with suppress(OSError):
        return Path(f"/proc/self/fd/{folder}").readlink() / os.fsdecode(path)
    return path


def _absolute(path: Any) -> Path:
    return Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  links kept


def _nothing(*_: Any, **__: Any) -> None:
    """In place of a hook."""


def _plain(name: str) -> Any:
    return getattr(pl.Callback, name)


def _announced(save: Callable[..., Any]) -> Callable[..., Any]:
    """torch.save, which opens its files in C++."""

    @wraps(save)
    def announced(obj: object, f: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(f, (str, os.PathLike)):
            sys.audit("open", f, "w", 0)
        return save(obj, f, *args, **kwargs)

    return announced


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if Guard._armed is not None:
        Guard._armed.audit(event, args)
