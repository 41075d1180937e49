"""The side of the other ranks: they do as they are told, and end when rank 0 does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType

from torch_lab.engine.ranks.agreement import NOTHING, Agreement, Wish
from torch_lab.engine.ranks.channel import WAKE, Channel, Message, Watch, wake_main
from torch_lab.engine.ranks.failures import Failure, is_echo
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import Stopped
from torch_lab.utils.launched import CHANNEL, Launch, leave_word

_UNWINDING = 2.0  # seconds to leave what is under way, when rank 0 has ended
_CLEARING_UP = 30.0  # … when this one has come to its end, too
_SENDING = 5.0


def is_follower() -> bool:
    """Whether this process was started by a Lead."""
    return CHANNEL in os.environ


class _Over(BaseException):
    """Rank 0 has ended."""


class Follower:
    """The place of another rank than 0."""

    def __init__(
        self, stop: StopRequest, channel: Channel, rank: int, launch: Launch | None = None
    ) -> None:
        self.rank = rank
        self.launch = launch
        self._channel = channel
        self._stop = stop
        self._agreement = Agreement()
        self._watch = Watch()
        self._watch.listen(self._channel, self._hear)
        self._told = threading.Lock()  # held for good when it was said how this rank ends
        self._ended = False
        self._here = False
        self._stopping = False
        self._status = 1  # with which it leaves where nothing else ends it

    @classmethod
    def started(cls, stop: StopRequest) -> Follower:
        """The place that the Lead which has started this process has given it."""
        number, rank = map(int, os.environ.pop(CHANNEL).split())
        os.set_inheritable(number, False)
        return cls(stop, Channel(Connection(number)), rank)

    def start(
        self, rank: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Only rank 0 starts others."""
        raise AssertionError(f"rank {self.rank} was asked to start rank {rank}")

    def gather(self) -> None:
        """Say that this rank has come so far; torch's own meeting place is where it waits."""
        if not self._here:
            self._here = True
            self._watch.post(lambda: self._channel.send(here=True))

    def begins(self, batch: int) -> None:
        """Training goes on with this batch."""
        self._agreement.begins(batch)

    def wishes(self, batch: int, *, time_is_up: bool) -> Wish:
        """What all ranks do at the boundary after this batch; rank 0 looks at the clock."""
        wish = self._agreement.at(batch) or NOTHING
        self._stopping = bool(wish.signum)
        return wish

    def settled(self) -> None:
        """Rank 0 asks for the next wish."""

    def failing(self, error: BaseException) -> None:
        """Tell of an exception before hooks that hear of it get stuck."""
        if isinstance(error, Exception) and not is_echo(error):
            self._tell_failure(error)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Be heard of, and end with the status of how this rank ended; rank 0 says the rest."""
        self._stop.on_signal = self._signalled
        signal.signal(WAKE, self._woken)
        self._watch.start()
        try:
            yield
            self._status = 0
            self._tell_end()
        except BaseException as error:  # noqa: BLE001 - any: rank 0 raises it
            raise SystemExit(self._ends_with(error)) from None
        finally:
            self._watch.flush(_SENDING)

    def _ends_with(self, error: BaseException) -> int:
        if isinstance(error, _Over) or (isinstance(error, Stopped) and self._stopping):
            self._tell_end()
        else:
            self._tell_failure(error)
        return 128 + error.signum if isinstance(error, Stopped) else 1

    def _tell_end(self) -> None:
        if self._told.acquire(blocking=False):
            self._watch.post(lambda: self._channel.send(over=True))

    def _tell_failure(self, error: BaseException) -> None:
        if self._told.acquire(blocking=False):
            failure = Failure.of(error, self.rank)
            if self.launch is not None and not failure.signum:
                leave_word(failure.summary, failure.traceback)
            self._watch.post(lambda: self._channel.send(failed=failure.plain()))

    # -- in the main thread, inside of a signal's handler ---------------------------------------

    def _signalled(self, signum: int) -> None:
        self._watch.post(lambda: self._channel.send(signal=signum))

    def _woken(self, signum: int, frame: FrameType | None) -> None:
        if self._told.locked():
            return
        if self._ended:
            raise _Over
        self._stop.act()

    # -- in the watch's thread ------------------------------------------------------------------

    def _hear(self, message: Message | None) -> None:
        if message is None or "end" in message:
            self._end()
        elif "ask" in message:
            self._channel.send(at=self._agreement.ask())
        elif "until" in message:
            wish = Wish(message["signum"], message["save"])
            self._agreement.decide(message["until"], wish)
        elif "signal" in message:
            self._stop.hear_of(message["signal"])
            wake_main()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            sys.unraisablehook = lambda _: None  # in the midst of a __del__, it is nobody's matter
            self._watch.later(_UNWINDING if self._status else _CLEARING_UP, self._leave)
            wake_main()

    def _leave(self) -> None:
        """Nothing else ends a call that waits for rank 0."""
        if self._told.acquire(blocking=False):
            self._channel.send(over=True)
        for each in multiprocessing.active_children():
            each.kill()
        os._exit(self._status)
