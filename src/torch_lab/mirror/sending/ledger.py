"""mirror.json in the hands of the one process that may write it."""

from __future__ import annotations

import time

from torch_lab.mirror import state
from torch_lab.mirror.state import Mirror
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory

_SELDOM = 1.0  # seconds between two writes of what may be sent twice without harm
_SETTLED = 2.0  # seconds after which a request whose answer was lost has come to its end


class Ledger:
    """What is acknowledged of a run; LockLost when another process has taken it over."""

    def __init__(self, run: RunDirectory, lock: Lock) -> None:
        self.run = run
        self.mirror = state.read(run) or Mirror()
        self._lock = lock
        self._saved = time.monotonic()
        self._settled = time.monotonic() + _SETTLED - _age(run)

    def doubt(self) -> None:
        """Be told that the answer to a request was lost: the server may still be at it."""
        self._settled = time.monotonic() + _SETTLED

    def settle(self) -> None:
        """Wait until what an earlier request, of a killed process too, may do has been done."""
        time.sleep(max(0.0, self._settled - time.monotonic()))

    def save(self) -> None:
        """Write now: what comes next must not happen unless this is on disk."""
        state.write(self.run, self.mirror, self._lock.check)
        self._saved = time.monotonic()

    def note(self) -> None:
        """Write if the last time is a while ago: should this be lost, it is found out again."""
        if time.monotonic() - self._saved > _SELDOM:
            self.save()

    def start_over(self, server: str, problem: str | None = None) -> None:
        """Forget all: this server has nothing of the run, as far as is known."""
        self.mirror = Mirror(server=server, problem=problem, extra=self.mirror.extra)
        self.save()


def _age(run: RunDirectory) -> float:
    """For how many seconds nobody has written the run's mirror.json."""
    try:
        return max(0.0, time.time() - run.mirror_file.stat().st_mtime)
    except OSError:  # there is none: nobody has sent anything
        return _SETTLED
