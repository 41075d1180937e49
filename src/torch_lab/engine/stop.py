"""Signals that end a run: asked for by a handler, carried out at a boundary."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from torch_lab.engine.limit import Limit
from torch_lab.errors import Stopped
from torch_lab.utils.overseer import ECHO
from torch_lab.utils.threads import ENDING

_ANSWER = 1.5  # seconds for the main thread to show that it can run a handler
_VALIDATION = 5.0  # seconds, at most, for a validation to end: what is saved comes after it


class StopRequest:
    """Turns a signal into a flag while training steps run, and into Stopped at other times.

    What doesn't end within `grace_period` seconds of the signal doesn't keep the process: the
    stacks of all threads go to `log`, and the process exits. A handler that the experiment has
    installed runs as well.
    """

    def __init__(
        self, grace_period: float = 30.0, log: Path | None = None, *, silent: bool = False
    ) -> None:
        self.signum: int | None = None
        self.deferring = False
        self.on_signal: Callable[[int], None] = lambda _: None  # runs inside of the handler
        self._handler = self._handle  # one object, so that it is known again
        self._limit = Limit(grace_period, meant=self._is_meant)
        self._limit.log = log
        self._silent = silent
        self._received = False  # here, not by another rank that told of it
        self._received_at = 0.0
        self._announced = False
        self._grace_period = grace_period
        self._listening = False
        self._holding = False
        self._validating = False
        self._hurry: threading.Timer | None = None
        self._users: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._passed_on: list[FrameType | None] = []
        self._before: dict[int, Any] = {}
        self._process = 0
        self._probing = False
        self._answered = threading.Event()

    @property
    def log(self) -> Path | None:
        """Where the stacks of a process go that is ended by force."""
        return self._limit.log

    @log.setter
    def log(self, path: Path | None) -> None:
        self._limit.log = path

    # -- whose signals they are -----------------------------------------------------------------

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside; leave alone those that arrived ignored, as under nohup."""
        before = self._before = {each: signal.getsignal(each) or signal.SIG_DFL for each in ENDING}
        self._listening, self._process = True, os.getpid()
        self._limit.start()
        self.take_back()
        try:
            yield
        finally:
            self._listening = False
            self._stop_hurrying()
            self._limit.stop()
            for each, handler in before.items():
                signal.signal(each, handler)

    def take_back(self) -> None:
        """Handle the signals again where the experiment has put handlers of its own."""
        if not self._listening:
            return
        for each in ENDING:
            current = signal.getsignal(each)
            if current is self._handler or current is signal.SIG_IGN or _is_debuggers(current):
                continue
            if callable(current) and current is not signal.default_int_handler:
                self._users[each] = current
            signal.signal(each, self._handler)

    def _is_meant(self, signum: int) -> bool:
        """Whether this signal is to end the process, though its handler has not run; in a thread.

        Another's handler may have, or a child have got it that was just being forked. Otherwise
        the main thread can't run any handler.
        """
        if signal.getsignal(signum) is not self._handler:
            return False
        if self._received:
            return True
        self._answered.clear()
        self._probing = True
        signal.pthread_kill(threading.main_thread().ident or 0, signum)
        stuck = not self._answered.wait(_ANSWER)
        self._probing = False
        return stuck

    # -- when they act --------------------------------------------------------------------------

    def hold(self) -> None:
        """Let signals wait while a run's books are opened or closed."""
        self._holding = True

    def release(self) -> None:
        """Let them act again, one that has come meanwhile at once."""
        self._holding = False
        if self.signum is not None:
            self.leave(self.signum)

    def act(self) -> None:
        """Raise Stopped if there was a signal that needn't wait; in the main thread."""
        if self.signum is not None and not (self._holding or self.deferring):
            self.leave(self.signum)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it signals act: in a step that saves nothing before its end."""
        before, self.deferring = self.deferring, False
        try:
            self.act()
            yield
        finally:
            self.deferring = before

    def leave(self, signum: int) -> NoReturn:
        """Raise Stopped. Nobody waits for loader workers from here on, which may be stuck."""
        if (workers := sys.modules.get("torch_lab.data.workers")) is not None:  # it takes torch
            workers.kill_all()
        raise Stopped(signum)

    def validation_begins(self) -> None:
        """From here the next boundary is that after the validation, which may be far."""
        self._validating = True
        if self.signum is not None and self.deferring:
            self._hurry_validation()

    def validation_ends(self) -> None:
        """From here it is that after the next batch."""
        self._validating = False
        self._stop_hurrying()

    def hear_of(self, signum: int) -> None:
        """Take a signal that another rank was sent as sent here, too; for any thread.

        The same one may still come here itself, as Ctrl-C goes to all: it isn't a second one.
        """
        if self.signum is None:
            self.signum = signum
            if self.deferring:
                self._defer(signum)

    # -- the handler ----------------------------------------------------------------------------

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._probing:
            self._answered.set()
            return
        if self._passed_on and frame in (None, self._passed_on[-1]):
            return  # the experiment's handler calls the one that it replaced
        if _at_prompt(frame):  # of a breakpoint(): no step ends while somebody thinks there
            self._limit.cancel()
            raise KeyboardInterrupt if signum == signal.SIGINT else Stopped(signum)
        if os.getpid() != self._process:
            self._end_child(signum)
        elif not self._is_echo():
            self._take(signum, frame)

    def _end_child(self, signum: int) -> None:
        """What the experiment has forked has nothing to save: it ends as it would without us."""
        signal.signal(signum, self._before[signum])
        os.kill(os.getpid(), signum)

    def _is_echo(self) -> bool:
        """Whether this is the same wish again: `timeout`, for one, tells the process and its
        group."""
        now = time.monotonic()
        if self._received and now - self._received_at < ECHO:
            return True
        self._received_at = now
        return False

    def _take(self, signum: int, frame: FrameType | None) -> None:
        again, self._received = self._received, True
        self.signum = self.signum or signum
        self._limit.arm()
        self.on_signal(signum)
        self._call_users(signum, frame)
        if self._holding:
            return
        if again or not self.deferring:
            self.leave(signum)
        self._defer(signum)

    def _call_users(self, signum: int, frame: FrameType | None) -> None:
        handler = self._users.get(signum)
        if handler is None:
            return
        self._passed_on.append(frame)
        try:
            handler(signum, frame)
        except (KeyboardInterrupt, SystemExit):
            pass  # it wants the process to end, which it will, with what it has saved
        finally:
            self._passed_on.pop()

    def _defer(self, signum: int) -> None:
        """Go on until the next boundary, but not for long."""
        self._limit.arm()
        self._announce(signum)
        if self._validating:
            self._hurry_validation()

    def _announce(self, signum: int) -> None:
        if self._silent or self._announced:
            return
        self._announced = True
        seconds = self._seconds_for_validation() if self._validating else self._grace_period
        what = "validation" if self._validating else "batch"
        self._say(
            f"\n{signal.Signals(signum).name}: finishing this {what}, then saving"
            f" (at most {seconds:g} s; once more ends the run at once)\n"
        )

    # -- a validation ---------------------------------------------------------------------------

    def _seconds_for_validation(self) -> float:
        return min(_VALIDATION, self._grace_period / 2)

    def _hurry_validation(self) -> None:
        if self._hurry is None:
            self._hurry = threading.Timer(self._seconds_for_validation(), self._send_again)
            self._hurry.daemon = True
            self._hurry.start()

    def _send_again(self) -> None:
        """As somebody would who has lost patience."""
        if self._validating and self.signum is not None:
            self._received, self._received_at = True, 0.0  # no echo
            os.kill(os.getpid(), self.signum)

    def _stop_hurrying(self) -> None:
        hurry, self._hurry = self._hurry, None
        if hurry is not None:
            hurry.cancel()

    @staticmethod
    def _say(text: str) -> None:
        stream = sys.__stderr__
        os.write(stream.fileno() if stream is not None else 2, text.encode())


def _at_prompt(frame: FrameType | None) -> bool:
    """Whether Python's debugger is waiting for a command."""
    return frame is not None and frame.f_globals.get("__name__") == "cmd"


def _is_debuggers(handler: object) -> bool:
    """Whether Python's debugger will open its prompt at Ctrl-C."""
    return getattr(handler, "__module__", None) == "pdb"
