"""The limit on how long a command may take to end once a signal has asked it to."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from torch_lab.utils import overseer
from torch_lab.utils.native_exit import exit_pipe
from torch_lab.utils.overseer import ARM, CANCEL, OVER, Order
from torch_lab.utils.threads import ENDING, leave_signals_to_main

# A signal that nobody sends, where there are such; else none, and the stacks are not written.
_DUMP: int = getattr(signal, "SIGRTMAX", getattr(signal, "SIGINFO", 0))


class Limit:
    """Ends this process, by a process beside it, when a signal has not done so in `seconds`.

    It is told of signals by Python's C code: also of those whose handler never comes to run,
    because the main thread is in a call that holds the interpreter or does not return. The stacks
    of all threads go to `log`, or to standard error as long as there is no log.
    `meant` tells whether a signal would have ended this command, had its handler run.
    """

    def __init__(self, seconds: float, meant: Callable[[int], bool]) -> None:
        self._seconds = seconds
        self._meant = meant
        self._log: Path | None = None
        self._stacks: TextIO | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._tell = self._before = -1
        _made.add(self)

    @property
    def log(self) -> Path | None:
        """Where the stacks go."""
        return self._log

    @log.setter
    def log(self, path: Path | None) -> None:
        self._log = path
        if self._process is not None:
            self._direct_stacks()

    def start(self) -> None:
        """Begin to watch for signals; in the main thread."""
        heard, self._tell = os.pipe()
        asked, ask = os.pipe()
        exit_ = exit_pipe() or 0
        order = Order(os.getpid(), self._seconds, ask, exit_, _DUMP, ENDING)
        try:
            self._process = _spawn(order, heard)
        except OSError:  # no process to be had: then signals act, but not within a limit
            os.close(asked)
            os.close(self._tell)
        else:
            self._begin(asked)
        os.close(heard)
        os.close(ask)

    def _begin(self, asked: int) -> None:
        os.set_blocking(self._tell, False)
        self._before = signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        self._direct_stacks()
        answers = (asked, self._tell)
        threading.Thread(target=self._answer, args=answers, name="limit", daemon=True).start()

    def stop(self) -> None:
        """End it: this process may take as long as it likes."""
        if self._process is None:
            return
        signal.set_wakeup_fd(self._before)  # first: signals, too, would find nobody to be told
        self._word(OVER)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        os.close(self._tell)
        if _DUMP:
            faulthandler.unregister(_DUMP)
        if self._stacks is not None:
            self._stacks.close()

    def arm(self) -> None:
        """Count from now, unless the signal was heard of before: it is to end this process."""
        self._word(ARM)

    def cancel(self) -> None:
        """Forget the signals so far."""
        self._word(CANCEL)

    def forget(self) -> None:
        """In a process that was forked: what it gets is nothing to the overseer of the first."""
        if self._process is not None:
            self._process = None
            signal.set_wakeup_fd(-1)

    def _word(self, word: int) -> None:
        if self._process is not None:
            with suppress(OSError):  # it is gone
                os.write(self._tell, bytes([word]))

    def _answer(self, asked: int, tell: int) -> None:
        """Say whether a signal was meant; where this thread can't run there is no answer."""
        leave_signals_to_main()
        while question := os.read(asked, 1):
            with suppress(OSError):
                os.write(tell, bytes([ARM if self._meant(question[0]) else CANCEL]))
        os.close(asked)

    def _direct_stacks(self) -> None:
        """Have the stacks written below Python, which works while a step holds it."""
        if not _DUMP:
            return
        stream: TextIO | None = sys.__stderr__
        previous, self._stacks = self._stacks, None
        with suppress(OSError):  # else the terminal has to do
            stream = self._stacks = self._log.open("a") if self._log is not None else None
        if (self._stacks or sys.__stderr__) is not None:
            faulthandler.register(_DUMP, file=self._stacks or stream or 2, all_threads=True)
        if previous is not None:
            previous.close()


_made: weakref.WeakSet[Limit] = weakref.WeakSet()


def _forget() -> None:
    for each in list(_made):
        each.forget()


os.register_at_fork(after_in_child=_forget)


def _spawn(order: Order, heard: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", overseer.__file__, *order.words()],
        stdin=heard,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[each for each in (order.ask, order.exit) if each],
        start_new_session=True,  # signals to the command's group are not for it
        cwd="/",
    )
