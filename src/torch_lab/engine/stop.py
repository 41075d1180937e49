"""Signals that end a run: asked for by a handler, carried out at a boundary."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from torch_lab.errors import Stopped
from torch_lab.utils.threads import ENDING


class StopRequest:
    """Turns a signal into a flag while training steps run, and into Stopped at other times.

    A step that doesn't end within `grace_period` seconds of the signal doesn't keep the process:
    the stacks of all threads go to `log`, and the process exits.
    """

    def __init__(self, grace_period: float = 30.0, log: Path | None = None) -> None:
        self.signum: int | None = None
        self.deferring = False
        self.log = log
        self._grace_period = grace_period
        self._holding = False
        self._stacks: TextIO | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside; leave alone those that arrived ignored, as under nohup."""
        heard = [each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, self._handle) for each in heard}
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            if self._stacks is not None:
                self._stacks.close()
            for each, handler in before.items():
                signal.signal(each, handler)

    def take_back(self) -> None:
        """Handle the signals again where Lightning has put handlers of its own around ours."""
        for each in ENDING:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self._handle)

    def hold(self) -> None:
        """Let signals wait while a run's books are opened or closed."""
        self._holding = True

    def release(self) -> None:
        """Let them act again, one that has come meanwhile at once."""
        self._holding = False
        if self.signum is not None:
            raise Stopped(self.signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if _at_prompt(frame):  # of a breakpoint(): no step ends while somebody thinks there
            raise KeyboardInterrupt if signum == signal.SIGINT else Stopped(signum)
        again, self.signum = self.signum is not None, self.signum or signum
        if self._holding:
            self._set_limit()
            return
        if again or not self.deferring:
            raise Stopped(signum)
        self._say(
            f"\n{signal.Signals(signum).name}: finishing this batch, then saving"
            f" (at most {self._grace_period:g} s; once more ends the run at once)\n"
        )
        self._set_limit()

    def _set_limit(self) -> None:
        """A thread below Python's: it works even where a step holds the interpreter."""
        if self.log is not None and self._stacks is None:
            self._stacks = self.log.open("a")
            faulthandler.dump_traceback_later(self._grace_period, exit=True, file=self._stacks)

    @staticmethod
    def _say(text: str) -> None:
        stream = sys.__stderr__
        os.write(stream.fileno() if stream is not None else 2, text.encode())


def _at_prompt(frame: FrameType | None) -> bool:
    """Whether Python's debugger is waiting for a command."""
    return frame is not None and frame.f_globals.get("__name__") == "cmd"
