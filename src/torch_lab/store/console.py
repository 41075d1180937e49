"""console.log: what a run prints, kept as plain lines while it goes to the terminal as it is."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from torch_lab.errors import TorchLabError
from torch_lab.store.console_times import Stamps
from torch_lab.store.secrets import mask_text
from torch_lab.utils.streams import PipeProof, terminal_width
from torch_lab.utils.tracebacks import format_exception

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_ERASED = re.compile(r"\r\x1b\[0?K|\x1b\[2K")
_ERASE = "\r\x1b[K"


class LiveLine:
    """The terminal's last line, redrawn in place and taken away before anything else is written."""

    def __init__(self, stream: TextIO | PipeProof, lock: threading.RLock | None = None) -> None:
        self.stream = stream
        self.lock = lock or threading.RLock()
        self.possible = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = False
        self._open = False  # somebody's own line is not finished
        self._blind = False

    def draw(self, text: str) -> None:
        """Show the text, cut to the terminal's width, unless a line of somebody else is open."""
        with self.lock:
            if not self.possible or self._open:
                return
            width = terminal_width(self.stream) or 80
            self.stream.write(f"\r{text[: width - 1]}\x1b[K")
            self.stream.flush()
            self._shown = True

    def erase(self) -> None:
        """Take the line away."""
        with self.lock:
            if self._shown:
                self.stream.write(_ERASE)
                self.stream.flush()
            self._shown = False

    def make_way(self, text: str) -> None:
        """Be told that this text is about to be written to the same terminal."""
        if not self.possible or not text:
            return
        self._shown = self._shown or (self._blind and not self._open)
        self.erase()
        self._open = not text.endswith("\n")

    def forked(self, lock: threading.RLock) -> None:
        """Be told that this is a child process, which can't know what its parent shows."""
        self.lock = lock
        self._blind = True
        self._open = False


class Tee:
    """Stands in for sys.stdout or sys.stderr: to the terminal as it is, to the log as lines."""

    def __init__(self, stream: TextIO, console: Console) -> None:
        self.terminal = PipeProof(stream)
        self.console = console
        self._on_terminal = stream.isatty()
        self._pending = ""

    def __getattr__(self, name: str) -> Any:
        if name == "terminal":  # while being copied: there is nothing to delegate to yet
            raise AttributeError(name)
        return getattr(self.terminal, name)

    def write(self, text: str) -> int:
        """Write to the terminal at once, to the log when the line is complete."""
        with self.console.lock:
            self._show(text)
            self._keep(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the terminal; in a forked worker the log as well, for it may end without notice."""
        with suppress(OSError, ValueError):  # a full disk, a closed stream: no reason to stop
            self.terminal.flush()
        if self.console.is_child:
            self.finish_line()

    def finish_line(self) -> None:
        """Send what has no line end yet to the log."""
        with self.console.lock:
            pending, self._pending = self._pending, ""
            if pending:
                self.console.log(_plain(pending))

    def forget(self) -> None:
        """Drop the unfinished line: it is the parent process that will finish it."""
        self._pending = ""

    def _show(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a full disk, a closed stream: no reason to stop
            if self._on_terminal:
                self.console.line.make_way(text)
            self.terminal.write(text)
            if "\n" in text:  # block-buffered in a pipe: a reader would wait for minutes
                self.terminal.flush()

    def _keep(self, text: str) -> None:
        whole, newline, rest = text.rpartition("\n")
        if newline:
            lines = f"{self._pending}{whole}".split("\n")
            self.console.log("\n".join(map(_plain, lines)))
            self._pending = rest
            return
        self._pending += text
        if "\r" in text:  # a bar that never ends its line must not pile up
            back = "\r" if self._pending.endswith("\r") else ""
            self._pending = _last_state(self._pending) + back


class Console:
    """While entered, everything printed also goes to the log at `path`, which is appended to.

    Neither a terminal that went away nor a disk that is full ends the run. Nothing more goes to the
    log once `is_held` says that the run is another process's.
    """

    _before: tuple[TextIO, TextIO]
    _tees: tuple[Tee, Tee]
    line: LiveLine

    def __init__(self, path: Path, is_held: Callable[[], bool] = lambda: True) -> None:
        self.path = path
        self._is_held = is_held
        self.lock = threading.RLock()
        self._owner = os.getpid()
        self._file: int | None = None
        self._stamps = Stamps(path)
        self._complained = False

    def __enter__(self) -> Console:
        out, err = self._before = (_stream(sys.stdout), _stream(sys.stderr))
        self._tees = (Tee(out, self), Tee(err, self))
        self.line = LiveLine(self.terminal, self.lock)
        self._open()
        sys.stdout, sys.stderr = (cast(TextIO, tee) for tee in self._tees)
        _point_handlers(self._before, self._tees)
        _entered.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.line.erase()
        for tee in self._tees:
            tee.flush()
            tee.finish_line()
        if isinstance(error, Exception):
            self.log(_last_words(error))
        self._restore()
        self._close()

    @property
    def terminal(self) -> PipeProof:
        """The real standard output, for live displays: nothing written to it is logged."""
        return self._tees[0].terminal

    @property
    def is_child(self) -> bool:
        """Whether this process was forked from the one that opened the log."""
        return os.getpid() != self._owner

    def log(self, text: str) -> None:
        """Append whole lines to the log alone; a failure is said once on the terminal."""
        if self._file is None or not self._is_held():
            return
        if not self.is_child:  # two that write times would write them out of order
            self._stamps.before(self._file)
        rest = memoryview(f"{mask_text(text)}\n".encode(errors="backslashreplace"))
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._complain(error)

    def forked(self) -> None:
        """Be told that this is a child process: locks and unfinished lines are its parent's."""
        self.lock = threading.RLock()
        self.line.forked(self.lock)
        for tee in self._tees:
            tee.forget()

    def _open(self) -> None:
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            self._complain(error)

    def _close(self) -> None:
        _entered.discard(self)
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._stamps.close()

    def _restore(self) -> None:
        _point_handlers(self._tees, self._before)
        if sys.stdout is self._tees[0]:
            sys.stdout = self._before[0]
        if sys.stderr is self._tees[1]:
            sys.stderr = self._before[1]

    def _complain(self, error: OSError) -> None:
        if self._complained:
            return
        self._complained = True
        reason = error.strerror or error
        self._tees[1].terminal.write(f"{self.path} can't be written ({reason}); the run goes on\n")


def current() -> Console | None:
    """The console that sys.stdout writes to, if there is one."""
    return sys.stdout.console if isinstance(sys.stdout, Tee) else None


_entered: weakref.WeakSet[Console] = weakref.WeakSet()


def _after_fork() -> None:
    for console in _entered:
        console.forked()


os.register_at_fork(after_in_child=_after_fork)


def _stream(stream: TextIO | None) -> TextIO:
    """The stream, or a null one where the process was started with its descriptor closed."""
    return stream if stream is not None else Path(os.devnull).open("w")


def _plain(line: str) -> str:
    if "\x1b" in line:
        line = _ANSI.sub("", _ERASED.sub("\r\0", line))
    return _last_state(line).replace("\0", "") if "\r" in line else line


def _last_state(line: str) -> str:
    """What a line shows after its last carriage return that something follows."""
    return next((part for part in reversed(line.split("\r")) if part), "")


def _last_words(error: Exception) -> str:
    if isinstance(error, TorchLabError):
        return f"error: {error}"
    return format_exception(error).rstrip()


def _point_handlers(old: tuple[Any, Any], new: tuple[Any, Any]) -> None:
    """Have logging's handlers write elsewhere: they keep the stream they were made with."""
    for handler in _handlers():
        if not isinstance(handler, logging.StreamHandler) or "stream" not in vars(handler):
            continue
        for before, after in zip(old, new, strict=True):
            if handler.stream is before:
                handler.setStream(after)
                break


def _handlers() -> Iterator[logging.Handler]:
    yield from logging.getLogger().handlers
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
