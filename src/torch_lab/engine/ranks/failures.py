"""An exception of one process, told to another as text."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch_lab import errors
from torch_lab.errors import RankLost, Stopped, TorchLabError
from torch_lab.utils.tracebacks import format_exception, summary, user_place

# What torch raises in the others when a process is gone from the midst of a collective call.
_ECHO = re.compile(
    r"\bgloo\b|\bnccl\b|Connection (closed|reset) by peer|ProcessGroup|pair closure", re.IGNORECASE
)
_KILLED = "The system kills where memory runs out, and so do people and schedulers."


class RankFailed(Exception):
    """Another rank's exception, with its traceback as text."""


@dataclass(frozen=True)
class Failure:
    """How a rank failed, as plain data."""

    rank: int
    at: float  # by the clock that all processes of a machine share
    kind: str = ""
    message: str = ""
    hint: str | None = None
    summary: str = ""
    traceback: str = ""
    echo: bool = False
    signum: int = 0

    @classmethod
    def of(cls, error: BaseException, rank: int) -> Failure:
        """An exception on its way up."""
        found = cls(rank, time.monotonic(), type(error).__name__)
        if isinstance(error, (Stopped, KeyboardInterrupt)):
            return replace(found, signum=getattr(error, "signum", signal.SIGINT))
        found = replace(found, summary=summary(error), echo=is_echo(error))
        if isinstance(error, TorchLabError):
            place = user_place(error)
            lines = [error.message, *([f"  at {place}"] if place else [])]
            lines += getattr(error, "__notes__", ())
            return replace(found, message="\n".join(lines), hint=error.hint)
        return replace(found, traceback=format_exception(error))

    @classmethod
    def of_death(cls, rank: int, status: int | None) -> Failure:
        """A process that is gone without a word."""
        found = cls(rank, time.monotonic(), RankLost.__name__)
        if status is None:
            return replace(found, message=f"rank {rank} doesn't answer any more")
        if status >= 0:
            message = f"the process of rank {rank} ended by itself, with status {status}"
            return replace(found, message=f"{message}, before the run was over")
        name = signal.Signals(-status).name
        return replace(found, message=f"rank {rank} was killed by {name}", hint=_KILLED)

    @classmethod
    def of_loss(cls, rank: int, host: str, by: str) -> Failure:
        """A process of another's that is gone without a word."""
        found = cls(rank, time.monotonic(), RankLost.__name__)
        message = f"rank {rank} on {host} is gone: its process was ended, or its machine is"
        return replace(found, message=message, hint=f"{_KILLED} {by} tells how it ended.")

    def exception(self) -> BaseException:
        """The exception for rank 0 to raise: the run ends as if it had been its own."""
        if self.signum:
            return Stopped(self.signum)
        if self.message:
            return self._mistake()
        text = self.traceback.rstrip()
        return RankFailed(f"Caught {self.kind} in rank {self.rank}.\nOriginal {text}")

    def _mistake(self) -> TorchLabError:
        kind = _error_class(self.kind)
        error = kind.__new__(kind)  # some are made from other things than a message
        TorchLabError.__init__(error, self.message, hint=self.hint)
        return error

    def plain(self) -> dict[str, Any]:
        """As it is sent."""
        return asdict(self)


def first(failures: Sequence[Failure]) -> Failure | None:
    """The one that the others came from."""
    return min(failures, key=lambda each: (each.echo, each.at), default=None)


def is_echo(error: BaseException | None) -> bool:
    """Whether an exception only says that another process has failed, or may say no more."""
    if error is None or isinstance(error, Stopped):
        return False
    if any(each.__name__ == "DistError" for each in type(error).__mro__):  # torch's
        return True
    own = isinstance(error, (RuntimeError, errors.ConfigurationError)) and _ECHO.search(str(error))
    return bool(own) or is_echo(error.__cause__)


def _error_class(kind: str) -> type[TorchLabError]:
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, TorchLabError):
        return found
    return errors.RunError
