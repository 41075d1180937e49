"""A command in which calls to the file system fail, or are the last thing it does.

    python file_faults.py ORDER VERB WORDS…

ORDER is JSON, a list of faults. Each stands at the calls of one kind, `call` (all where left out),
whose path holds `path` (a regular expression, matched against what follows the artifacts folder),
from the `nth` of them on, `times` of them (all where left out), and does this:

    the name of an errno    the call fails with it
    kill                    the process is killed before the call
    half                    … when half of what was to be written is
    stop                    it is stopped there until it gets SIGCONT
    note                    nothing

Where `seen` is given, each call that was struck is a line of that file. With `after`, a fault
begins with the first call on such a path; with `until`, it does nothing once there is such a file.
HOST_OF_THIS_PROCESS in the environment is the name that the machine is to have.

What goes through Python is caught: os.open, os.write, os.fsync, rename, link …, and the files that
`open` makes for writing. strace does the same from outside, where there is one.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_REAL = {name: getattr(os, name) for name in ("open", "close", "write", "fsync", "kill")}
_turn = threading.RLock()


@dataclass
class Fault:
    do: str
    call: str = ""
    path: str = ""
    nth: int = 1
    times: int = 1 << 30
    seen: str = ""
    until: str = ""
    after: str = ""
    met: int = field(default=0, init=False)

    def strikes(self, call: str, path: str) -> bool:
        if self.after and re.search(self.after, path):
            self.after = ""
        if self.after or self.call not in ("", call) or not re.search(self.path, path):
            return False
        if self.until and os.access(self.until, os.F_OK):
            return False
        self.met += 1
        return self.nth <= self.met < self.nth + self.times


FAULTS: list[Fault] = []
_paths: dict[int, str] = {}


def _strike(call: str, path: Any, half: Callable[[], None] = lambda: None) -> None:
    """Let this call fail, or not happen any more, if that is ordered."""
    text = os.fspath(path) if not isinstance(path, int) else _paths.get(path, "")
    text = text.decode() if isinstance(text, bytes) else text
    _, below, text = text.partition("/artifacts")
    if not below:
        return
    with _turn:
        struck = [fault for fault in FAULTS if fault.strikes(call, text)]
        for fault in struck:
            if fault.seen:
                _note(fault.seen, f"{call} {text}\n")
            if fault.do == "half":
                half()
            if fault.do in ("kill", "half"):
                _REAL["kill"](os.getpid(), signal.SIGKILL)
            if fault.do == "stop":
                _REAL["kill"](os.getpid(), signal.SIGSTOP)
            elif fault.do != "note":
                number = getattr(errno, fault.do)
                raise OSError(number, os.strerror(number), text)


def _note(file: str, line: str) -> None:
    descriptor = _REAL["open"](file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    _REAL["write"](descriptor, line.encode())
    _REAL["close"](descriptor)


class _File(io.FileIO):
    """A file that `open` made for writing."""

    def write(self, data: Any) -> int:  # type: ignore[override]
        content = memoryview(data).cast("B")

        def half() -> None:
            io.FileIO.write(self, content[: len(content) // 2])

        _strike("write", self.name, half)
        return super().write(data)


def _open_file(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
    if isinstance(file, int) or not set(mode) & set("wxa+"):
        return _open_really(file, mode, buffering, *rest, **more)
    _strike("open", file)
    if "b" not in mode or buffering == 0:
        return _open_really(file, mode, buffering, *rest, **more)
    raw = _File(file, mode.replace("b", ""))
    _paths[raw.fileno()] = os.fspath(file)
    return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)


def _open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
    if flags & WRITES:
        _strike("open", path)
    descriptor: int = _REAL["open"](path, flags, *rest, **more)
    _paths[descriptor] = os.fspath(path)
    return descriptor


def _write(descriptor: int, data: Any) -> int:
    content = memoryview(data).cast("B")

    def half() -> None:
        _REAL["write"](descriptor, content[: len(content) // 2])

    _strike("write", descriptor, half)
    return int(_REAL["write"](descriptor, data))


def _fsync(descriptor: Any) -> None:
    _strike("fsync", descriptor)
    _REAL["fsync"](descriptor)


def _close(descriptor: int) -> None:
    _paths.pop(descriptor, None)
    _REAL["close"](descriptor)


def _named(call: str, last: bool) -> Callable[..., Any]:
    """A call that gets one path or two: the one that it makes, changes or takes away counts."""
    really = getattr(os, call)

    def instead(*paths: Any, **more: Any) -> Any:
        _strike({"rename": "replace"}.get(call, call), paths[1 if last else 0])
        return really(*paths, **more)

    return instead


_open_really = builtins.open


def install(order: str) -> None:
    """Let what is ordered happen from here on."""
    FAULTS.extend(Fault(**each) for each in json.loads(order))
    builtins.open = io.open = _open_file  # type: ignore[assignment]
    os.open, os.write, os.fsync, os.close = _open, _write, _fsync, _close  # type: ignore[assignment]
    for call in ("replace", "rename", "link", "symlink"):
        setattr(os, call, _named(call, last=True))
    for call in ("unlink", "remove", "mkdir", "rmdir", "ftruncate", "utime"):
        setattr(os, call, _named(call, last=False))


if __name__ == "__main__":
    install(sys.argv[1])
    from torch_lab.cli.main import main
    from torch_lab.store import host

    if "HOST_OF_THIS_PROCESS" in os.environ:
        host.hostname = lambda: os.environ["HOST_OF_THIS_PROCESS"]

    sys.argv = ["torch-lab", *sys.argv[2:]]
    main()
