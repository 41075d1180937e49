"""The process that a pool's commands are forked from, forked itself: seconds less for each pool.

What it is told and does, and what becomes of its commands, is as ever; only that it imports
nothing anew is another. It ends with the pool's process as one that this had started itself.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import traceback
from collections.abc import Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import IO, Any, NoReturn

WANTED = "FORKED_STARTERS"  # as the environment of the command that has the pool
FORKED = {WANTED: "1"}
_WORD = 16  # bytes of a process id
_GROUPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)  # what tests send to all


def prepare() -> None:
    """Where the environment asks for it, have starters forked from this process as it is now."""
    if os.environ.pop(WANTED, ""):
        from torch_lab.tasks.pool import starting

        nursery = _nursery()

        def start(command: object, **given: Any) -> Started:
            return Started(nursery, given["env"], given["stderr"])

        starting.subprocess = SimpleNamespace(Popen=start, PIPE=None)  # type: ignore[assignment]


class Started:
    """As much of a Popen as a pool uses."""

    def __init__(self, nursery: socket.socket, env: Mapping[str, str], errors: IO[bytes]) -> None:
        orders, ours = os.pipe()
        theirs, answers = os.pipe()
        content = json.dumps(dict(env)).encode()
        size = len(content).to_bytes(4, "big")
        socket.send_fds(nursery, [size], [orders, answers, errors.fileno()])
        nursery.sendall(content)
        os.close(orders)
        os.close(answers)
        self.stdin = os.fdopen(ours, "wb")
        self.stdout = os.fdopen(theirs, "rb")
        self._process: int | None = None
        with suppress(ProcessLookupError):  # it has ended already
            self._process = os.pidfd_open(int(nursery.recv(_WORD, socket.MSG_WAITALL)))

    def wait(self) -> None:
        if self._process is not None:
            select.select([self._process], [], [])

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)


def _nursery() -> socket.socket:
    """The way to a process that forks a starter at each request, and ends with this one.

    It is the starters' parent, with whose end the system ends them.
    """
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    before = {each: signal.signal(each, signal.SIG_IGN) for each in _GROUPS}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        size, given, _, _ = socket.recv_fds(theirs, 4, 3)
        if not size:
            os._exit(0)
        content = theirs.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        pid = os.fork()
        if pid == 0:
            theirs.close()
            _be(json.loads(content), given, before)
        theirs.sendall(b"%*d" % (_WORD, pid))
        for each in given:
            os.close(each)


def _be(env: dict[str, str], given: list[int], before: Mapping[signal.Signals, Any]) -> NoReturn:
    """Become the starter, or in a process that it has forked, the command."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for signum, handler in before.items():
        signal.signal(signum, handler)
    for target, source in enumerate(given):
        os.dup2(source, target)
        os.close(source)
    os.environ.clear()
    os.environ.update(env)
    from torch_lab.tasks.pool import starter

    try:
        starter.main()
    except BaseException:  # noqa: BLE001  the outermost edge: said as Python says it
        traceback.print_exc()
    os._exit(1)  # commands end by themselves
