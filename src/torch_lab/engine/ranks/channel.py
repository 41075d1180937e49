"""Messages between two processes, and the thread that hears them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from queue import Empty, SimpleQueue
from typing import Any

from torch_lab.utils.threads import leave_signals_to_main

WAKE = signal.SIGURG  # the system's default is to ignore it, and nobody sends it
Message = Mapping[str, Any]
Hear = Callable[["Message | None"], None]


class Channel:
    """One end; when the process at the other is gone, `receive` returns None."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        _inherited.add(self)

    def send(self, **message: Any) -> None:
        """Send, unless nobody is there any more: whoever reads here learns of that."""
        with suppress(OSError):
            self.connection.send_bytes(json.dumps(message).encode())

    def receive(self) -> Message | None:
        """The next message."""
        try:
            found: Message = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None
        return found

    def close(self) -> None:
        """Close this end."""
        self.connection.close()


class Watch:
    """A thread that hears channels, does what is posted to it, and what has come due."""

    def __init__(self) -> None:
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._channels: dict[Connection, tuple[Channel, Hear]] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._stopped = False
        self._bell, self._ring = os.pipe()
        os.set_blocking(self._ring, False)
        self._thread = threading.Thread(target=self._run, name="ranks", daemon=True)
        _inherited.add(self)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, when what was posted has been done."""
        self.post(self._stop)
        self._thread.join()
        self.close()

    def close(self) -> None:
        """Close what the thread was woken by."""
        os.close(self._bell)
        os.close(self._ring)

    def post(self, do: Callable[[], None]) -> None:
        """Have it done by the thread; for any thread, and for signal handlers."""
        self._posted.put(do)
        with suppress(OSError):  # full: it will wake up anyway
            os.write(self._ring, b"\0")

    def flush(self, patience: float) -> None:
        """Return when all that was posted has been done, or after so many seconds."""
        done = threading.Event()
        self.post(done.set)
        done.wait(patience)

    # -- called in the thread, or before it starts -------------------------------------------

    def listen(self, channel: Channel, hear: Hear) -> None:
        """Tell `hear` what comes, and at last None."""
        self._channels[channel.connection] = channel, hear

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Have it done in so many seconds."""
        self._later.append((time.monotonic() + seconds, do))

    def _run(self) -> None:
        leave_signals_to_main()
        while not self._stopped:
            for ready in wait([self._bell, *self._channels], self._patience()):
                if isinstance(ready, Connection):
                    self._hear(ready)
                else:
                    os.read(self._bell, 4096)
            self._do_posted()
            self._do_due()

    def _patience(self) -> float | None:
        if not self._later:
            return None
        return max(0.0, min(when for when, _ in self._later) - time.monotonic())

    def _hear(self, connection: Connection) -> None:
        channel, hear = self._channels[connection]
        message = channel.receive()
        if message is None:
            del self._channels[connection]
        hear(message)

    def _do_posted(self) -> None:
        with suppress(Empty):
            while True:
                self._posted.get_nowait()()

    def _do_due(self) -> None:
        now = time.monotonic()
        due = [do for when, do in self._later if when <= now]
        self._later = [(when, do) for when, do in self._later if when > now]
        for do in due:
            do()

    def _stop(self) -> None:
        self._stopped = True


def wake_main() -> None:
    """Have the handler of WAKE run in the main thread, also where that waits for something."""
    identity = threading.main_thread().ident
    assert identity is not None
    signal.pthread_kill(identity, WAKE)


_inherited: weakref.WeakSet[Channel | Watch] = weakref.WeakSet()


def _after_fork() -> None:
    """A loader worker that held an end open would keep its parent's death from being noticed."""
    for each in list(_inherited):
        with suppress(OSError):
            each.close()


os.register_at_fork(after_in_child=_after_fork)
