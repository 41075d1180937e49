"""The process that a pool's commands are forked from: what they all import, it imports once.

A line of JSON on its standard input for each command to start; on its standard output one when
that has begun, and one when it has ended. At the end of its input, however that comes, it ends,
and they end with it.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import runpy
import select
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from torch_lab.tasks.pool.child import PARENT
from torch_lab.utils.garbage import made_to_stay
from torch_lab.utils.orphans import ask_system
from torch_lab.utils.threads import ENDING

# macOS breaks what uses its frameworks after a fork: there each command is a new program.
_FORKS = sys.platform != "darwin"


def main() -> None:
    """Serve until there is nothing left to do; in a forked process, be the command."""
    ask_system(signal.SIGKILL)  # when the pool is killed while this imports
    starter = Starter()
    order = starter.serve()
    starter.leave()
    _be(order)


class Starter:
    """Forks, and tells what becomes of whom."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._rest = b""
        # They are for the commands. One that comes to a process that is just being made waits.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        self._woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker)
        self._waker = waker

    def serve(self) -> dict[str, Any]:
        """Returns only in a forked process: its order."""
        if _FORKS:
            with made_to_stay():  # a child's searches would copy what they look at
                import torch_lab.tasks.running  # noqa: F401  once for all
        while True:
            ready, _, _ = select.select([0, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._tell_ends()
            if 0 not in ready:
                continue
            for order in self._orders():
                pid = os.fork()
                if pid == 0:
                    return order
                self._numbers[pid] = order["number"]
                _tell({"number": order["number"], "pid": pid})

    def leave(self) -> None:
        """In a forked process: close what is the starter's, and hear signals."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._woken)
        os.close(self._waker)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _orders(self) -> list[dict[str, Any]]:
        received = os.read(0, 1 << 16)
        if not received:  # the pool is gone: what runs is told so by the system
            os._exit(0)
        *lines, self._rest = (self._rest + received).split(b"\n")
        return [json.loads(line) for line in lines]

    def _tell_ends(self) -> None:
        while self._numbers:
            pid, status = _ended()
            if not pid:
                return
            if pid in self._numbers:
                _tell({"number": self._numbers.pop(pid), "status": status})


def _tell(answer: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(answer).encode() + b"\n")
    except BrokenPipeError:
        os._exit(0)


def _ended() -> tuple[int, int]:
    """A child that has ended, and its exit status, -N for signal N; 0 where none has.

    What a process leaves behind that a signal ended goes, too. It isn't reaped before: until
    then nobody else gets its number.
    """
    if hasattr(os, "waitid"):
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found is not None and found.si_code != os.CLD_EXITED:
            with suppress(ProcessLookupError):
                os.killpg(found.si_pid, signal.SIGKILL)
    pid, status = os.waitpid(-1, os.WNOHANG)
    return pid, os.waitstatus_to_exitcode(status) if pid else 0


def _be(order: dict[str, Any]) -> None:
    """Become the command."""
    os.setsid()
    _redirect(Path(order["log"]))
    os.environ.clear()
    os.environ.update(order["environment"])
    os.environ[PARENT] = str(os.getppid())
    if not _FORKS:
        os.execve(
            sys.executable, [sys.executable, "-P", "-m", "torch_lab", *order["argv"]], os.environ
        )
    tempfile.tempdir = None  # as the environment says now
    random.seed()  # else all would draw the same until they seed
    sys.argv = ["torch-lab", *order["argv"]]
    try:  # other ranks, and spawned workers, are started as this one seems to be
        runpy.run_module("torch_lab", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _exit(end.code)


def _exit(code: object) -> NoReturn:
    """End as Python does, without taking apart all that the starter has imported: a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _redirect(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)
