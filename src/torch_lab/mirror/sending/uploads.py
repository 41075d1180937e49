"""Files on their way: small ones at once, others by a process beside."""

from __future__ import annotations

import time
from pathlib import Path

from torch_lab.errors import ServerError
from torch_lab.mirror import storage
from torch_lab.mirror.asking import Asking, start_asking
from torch_lab.mirror.patience import seconds_for

SMALL = 2 << 20  # bytes: sent sooner than a process is started
_SMALL_WAIT = 20.0  # seconds for a small one, since all else waits for it
_MORE = 15.0  # seconds for the process's own start
_PAUSES = (5.0, 60.0)  # seconds after a failure, at first and at most


class Pause:
    """When a next upload may be tried after failures: later and later."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self._seconds, self._until = _PAUSES[0], 0.0

    @property
    def over(self) -> bool:
        """Whether an upload may be tried."""
        return time.monotonic() >= self._until

    def begin(self, problem: str) -> None:
        """An upload has failed."""
        self.problem = problem
        self._until = time.monotonic() + self._seconds
        self._seconds = min(2 * self._seconds, _PAUSES[1])

    def cut_short(self) -> None:
        """Let the next upload be tried at once."""
        self._until = 0.0

    def forget(self) -> None:
        """An upload has succeeded."""
        self.problem, self._seconds = None, _PAUSES[0]


class Upload:
    """One file that is being uploaded; ServerError where it can't be."""

    def __init__(self, file: Path, url: str) -> None:
        self._asking: Asking | None = None
        self._error: ServerError | None = None
        try:
            size = file.stat().st_size
            if size <= SMALL:
                send(file, url)
            else:
                seconds = seconds_for(size)
                self._asking = start_asking(
                    "upload", timeout=seconds + _MORE, file=str(file), url=url, deadline=seconds
                )
        except ServerError as error:
            self._error = error
        except OSError as error:
            self._error = ServerError(f"{file} can't be read: {error.strerror or error}")

    def poll(self) -> bool:
        """Whether it has come to an end."""
        return self._asking is None or self._asking.poll()

    def result(self) -> None:
        """Raise what went wrong, once it has come to an end."""
        if self._error is not None:
            raise self._error
        if self._asking is not None:
            self._asking.answer(0.0)

    def end(self) -> None:
        """Stop it if it is still under way."""
        if self._asking is not None:
            self._asking.end()


def send(file: Path, url: str) -> None:
    """Upload a file now."""
    small = file.stat().st_size <= SMALL
    storage.upload(file, url, deadline=_SMALL_WAIT if small else seconds_for(file.stat().st_size))
