"""The process beside a command that sees to it that a signal ends the command in time.

    python -I -S overseer.py ORDER…

It runs by itself and at each start of a command, so it imports next to nothing. On its
standard input come the numbers of the signals that the command got, written there by Python's C
code even while the interpreter is held, and words of the command's own, see CANCEL and the rest.
A command that has not said that a signal is to end it is asked, shortly before the time is over.
When it is over, it is made to write the stacks of its threads, and ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CANCEL, ARM, OVER = 0, 254, 255  # words of the command among the numbers of signals
AGAIN = 10.0  # seconds that are left, at most, after a second signal
ECHO = 0.25  # seconds; what comes sooner is the same wish, sent to the process and to its group
_LOOK = 1.0  # seconds between two looks at whether the command lives
_SOON = 0.05  # … while it is to end
_ANSWER = 3.0  # seconds to answer whether the signal was meant
_DUMP = 1.0  # seconds to write the stacks
_EXIT = 3.0  # seconds to exit with a status; then it is killed


class Order:
    """Whom to watch, for how long, and how to reach it.

    `ask` is a descriptor: the number of a signal asks whether that one was meant. `exit` is one,
    too: a byte ends the process. `dump` is a signal: it writes its stacks. 0 where there is none.
    """

    def __init__(
        self, process: int, seconds: float, ask: int, exit_: int, dump: int, signals: Iterable[int]
    ) -> None:
        self.process = process
        self.seconds = seconds
        self.ask = ask
        self.exit = exit_
        self.dump = dump
        self.signals = tuple(signals)

    def words(self) -> list[str]:
        """The order as arguments."""
        numbers = (self.process, self.seconds, self.ask, self.exit, self.dump, *self.signals)
        return [str(number) for number in numbers]

    @classmethod
    def of(cls, words: Sequence[str]) -> Order:
        """The order that `words` gave."""
        process, seconds, ask, exit_, dump, *signals = words
        return cls(int(process), float(seconds), int(ask), int(exit_), int(dump), map(int, signals))


class Deadline:
    """When a command must have ended, from what it got."""

    def __init__(self, seconds: float, signals: Iterable[int]) -> None:
        self._seconds = seconds
        self._signals = frozenset(signals)
        self._heard = 0.0
        self.at: float | None = None
        self.signum = 0
        self.certain = False  # the command itself has said that the signal is to end it
        self.asked = False

    def hear(self, word: int, now: float) -> None:
        """A signal's number, or a word of the command's."""
        if word == CANCEL:
            self.at, self.certain, self.asked = None, False, False
        elif word == ARM:
            self.certain = True
            self.at = now + self._seconds if self.at is None else self.at
        elif word in self._signals:
            self._hear_signal(word, now)

    def to_ask(self, now: float) -> bool:
        """Whether it is time to ask the command, once."""
        if self.at is None or self.certain or self.asked:
            return False
        self.asked = now >= self.at - min(_ANSWER, self._seconds / 2)
        return self.asked

    def is_over(self, now: float) -> bool:
        """Whether the command must have ended by now."""
        return self.at is not None and now >= self.at

    def _hear_signal(self, signum: int, now: float) -> None:
        if self.at is None:
            self.at, self.signum, self._heard = now + self._seconds, signum, now
        elif now - self._heard > ECHO:
            self.at = min(self.at, now + AGAIN)


class Overseer:
    """Watches one command."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._deadline = Deadline(order.seconds, order.signals)
        self._over = False

    def watch(self) -> None:
        """Until the command has ended, or had to be."""
        while self._lives():
            now = time.monotonic()
            if self._deadline.to_ask(now):
                _write(self._order.ask, bytes([self._deadline.signum]))
            if self._deadline.is_over(now):
                self._end()
                return
            self._listen(_LOOK if self._deadline.at is None else _SOON)

    def _lives(self) -> bool:
        return not self._over and os.getppid() == self._order.process

    def _listen(self, seconds: float) -> None:
        if not select.select([0], [], [], seconds)[0]:
            return
        words = os.read(0, 4096)
        self._over = not words or OVER in words
        for word in words:
            self._deadline.hear(word, time.monotonic())

    def _end(self) -> None:
        name = signal.Signals(self._deadline.signum or signal.SIGTERM).name
        self._say(f"\n{name}: not ended after {self._order.seconds:g} s, so it is ended by force\n")
        if self._order.dump:
            os.kill(self._order.process, self._order.dump)
            self._wait(_DUMP)
        if self._order.exit and self._lives():
            _write(self._order.exit, b"\1")
            self._wait(_EXIT)
        if self._lives():
            os.kill(self._order.process, signal.SIGKILL)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._lives() and time.monotonic() < end:
            time.sleep(_SOON)

    def _say(self, text: str) -> None:
        """On the command's own standard error, which isn't kept open: others read to its end."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK
        try:
            descriptor = os.open(f"/proc/{self._order.process}/fd/2", flags)
        except OSError:
            return
        _write(descriptor, text.encode())
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    try:  # noqa: SIM105  contextlib costs more to import than all of this
        os.write(descriptor, content)
    except OSError:  # nobody reads there any more
        pass


def main(words: Sequence[str]) -> None:
    """Watch as ordered."""
    order = Order.of(words)
    for signum in order.signals:
        signal.signal(signum, signal.SIG_IGN)
    Overseer(order).watch()


if __name__ == "__main__":
    main(sys.argv[1:])
