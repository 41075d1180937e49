"""The other ranks of a run forked, as its command was, and not begun anew: seconds less for each.

What rank 0 gives them, and what it does about them, is as ever; only the start is another.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

WANTED = "FORKED_RANKS"  # the file that their process ids go to
_WORD = 16  # bytes of a process id or a status


def prepare(run: Callable[[], NoReturn]) -> None:
    """Where the environment asks for it, have ranks forked from this process as it is now."""
    if file := os.environ.pop(WANTED, ""):
        from torch_lab.engine.ranks import lead

        nursery = _nursery(Path(file), run)

        def start(command: object, **given: Any) -> Started:
            return Started(nursery, given["env"], given["pass_fds"][0])

        lead.subprocess = SimpleNamespace(  # type: ignore[assignment]
            Popen=start, DEVNULL=None, TimeoutExpired=subprocess.TimeoutExpired
        )


class Started:
    """As much of a Popen as rank 0 uses."""

    def __init__(self, nursery: socket.socket, env: Mapping[str, str], channel: int) -> None:
        self._told, word = os.pipe()
        content = json.dumps(dict(env)).encode()
        size = len(content).to_bytes(4, "big")
        socket.send_fds(nursery, [size], [channel, word, 1, 2])
        nursery.sendall(content)
        os.close(word)
        self.pid = int(os.read(self._told, _WORD))
        self._status: int | None = None

    def wait(self, timeout: float) -> int:
        if self._status is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("rank", timeout)
            self._status = int(os.read(self._told, _WORD) or -signal.SIGKILL)
        return self._status

    def kill(self) -> None:
        if not select.select([self._told], [], [], 0)[0]:
            os.kill(self.pid, signal.SIGKILL)


def _nursery(file: Path, run: Callable[[], NoReturn]) -> socket.socket:
    """The way to a process that forks a rank at each request, and ends with this one."""
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    before = {each: signal.signal(each, signal.SIG_IGN) for each in _GROUPS}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        size, given, _, _ = socket.recv_fds(theirs, 4, 4)
        if not size:
            os._exit(0)
        content = theirs.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        if os.fork() == 0:
            _attend(json.loads(content), given, file, before, run)
        for each in given:
            os.close(each)


_GROUPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)  # what tests send to all


def _attend(
    env: dict[str, str],
    given: Sequence[int],
    file: Path,
    before: Mapping[signal.Signals, Any],
    run: Callable[[], NoReturn],
) -> NoReturn:
    """Fork the rank, and tell how it ends."""
    channel, word, output, errors = given
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        os.close(channel)
        with file.open("a") as pids:
            pids.write(f"{pid}\n")
        os.write(word, b"%*d" % (_WORD, pid))
        os.write(word, b"%*d" % (_WORD, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        os._exit(0)
    os.close(word)
    for each, handler in before.items():
        signal.signal(each, handler)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    _, rank = env["_TORCH_LAB_CHANNEL"].split()
    os.environ.clear()
    os.environ.update(env | {"_TORCH_LAB_CHANNEL": f"{channel} {rank}"})
    run()
