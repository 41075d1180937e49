"""The other ranks of a run forked, as its command was, and not begun anew: seconds less for each.

What rank 0 gives them, and what it does about them, is as ever; only the start is another.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import nursery

WANTED = "FORKED_RANKS"  # the file that their process ids go to
_WORD = 16  # bytes of a process id or a status


def prepare(run: Callable[[], NoReturn]) -> None:
    """Where the environment asks for it, have ranks forked from this process as it is now."""
    if file := os.environ.pop(WANTED, ""):
        from torch_lab.engine.ranks import lead

        ranks = nursery.begin(partial(_attend, Path(file), run))

        def start(command: object, **given: Any) -> Started:
            return Started(ranks, given["env"], given["pass_fds"][0])

        lead.subprocess = SimpleNamespace(  # type: ignore[assignment]
            Popen=start, DEVNULL=None, TimeoutExpired=subprocess.TimeoutExpired
        )


class Started:
    """As much of a Popen as rank 0 uses."""

    def __init__(self, ranks: socket.socket, env: Mapping[str, str], channel: int) -> None:
        self._told, word = os.pipe()
        nursery.ask(ranks, env, [channel, word, 1, 2])
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


def _attend(
    file: Path,
    run: Callable[[], NoReturn],
    env: dict[str, str],
    given: Sequence[int],
    heed: Callable[[], None],
) -> NoReturn:
    """Fork the rank, and tell how it ends."""
    channel, word, output, errors = given
    if pid := os.fork():
        os.close(channel)
        with file.open("a") as pids:
            pids.write(f"{pid}\n")
        os.write(word, b"%*d" % (_WORD, pid))
        os.write(word, b"%*d" % (_WORD, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        os._exit(0)
    os.close(word)
    heed()
    os.dup2(output, 1)
    os.dup2(errors, 2)
    _, rank = env["_TORCH_LAB_CHANNEL"].split()
    os.environ.clear()
    os.environ.update(env | {"_TORCH_LAB_CHANNEL": f"{channel} {rank}"})
    run()
