"""The process that a pool's commands are forked from, forked itself: seconds less for each pool.

What it is told and does, and what becomes of its commands, is as ever; only that it imports
nothing anew is another. It ends with the pool's process as one that this had started itself.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import IO, Any, NoReturn

import nursery

WANTED = "FORKED_STARTERS"  # as the environment of the command that has the pool
FORKED = {WANTED: "1"}


def prepare() -> None:
    """Where the environment asks for it, have starters forked from this process as it is now."""
    if os.environ.pop(WANTED, ""):
        from torch_lab.tasks.pool import starting

        starters = nursery.begin(_be)

        def start(command: object, **given: Any) -> Started:
            return Started(starters, given["env"], given["stderr"])

        starting.subprocess = SimpleNamespace(Popen=start, PIPE=None)  # type: ignore[assignment]


class Started:
    """As much of a Popen as a pool uses."""

    def __init__(self, starters: socket.socket, env: Mapping[str, str], errors: IO[bytes]) -> None:
        orders, ours = os.pipe()
        theirs, answers = os.pipe()
        pid = nursery.ask(starters, env, [orders, answers, errors.fileno()])
        os.close(orders)
        os.close(answers)
        self.stdin = os.fdopen(ours, "wb")
        self.stdout = os.fdopen(theirs, "rb")
        self._process: int | None = None
        with suppress(ProcessLookupError):  # it has ended already
            self._process = os.pidfd_open(pid)

    def wait(self) -> None:
        if self._process is not None:
            select.select([self._process], [], [])

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)


def _be(env: dict[str, str], given: list[int], heed: Callable[[], None]) -> NoReturn:
    """Become the starter, or in a process that it has forked, the command."""
    os.setsid()
    heed()
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
