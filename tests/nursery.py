"""A process that forks others from itself at each request, and ends with the one that began it.

It is their parent, with whose end the system ends those that ask for it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

_WORD = 16  # bytes of a process id
_MOST = 4  # descriptors of a request
_GROUPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)  # what tests send to all

Become = Callable[[dict[str, str], list[int], Callable[[], None]], NoReturn]


def begin(become: Become) -> socket.socket:
    """The way to it. What it forks calls `become` with the environment and descriptors of the
    request, and a function that handles signals again as this process does."""
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    before = {each: signal.signal(each, signal.SIG_IGN) for each in _GROUPS}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        size, given, _, _ = socket.recv_fds(theirs, 4, _MOST)
        if not size:
            os._exit(0)
        content = theirs.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        pid = os.fork()
        if pid == 0:
            theirs.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(json.loads(content), given, lambda: _restore(before))
        theirs.sendall(b"%*d" % (_WORD, pid))
        for each in given:
            os.close(each)


def ask(nursery: socket.socket, env: Mapping[str, str], given: Sequence[int]) -> int:
    """Have a process forked, which gets copies of these descriptors; its id."""
    content = json.dumps(dict(env)).encode()
    socket.send_fds(nursery, [len(content).to_bytes(4, "big")], given)
    nursery.sendall(content)
    return int(nursery.recv(_WORD, socket.MSG_WAITALL))


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
