"""Rank 0's side: it starts the other processes, hears them, and ends only with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pipe
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch_lab.engine.ranks.agreement import NOTHING, Agreement, Wish
from torch_lab.engine.ranks.channel import WAKE, Channel, Message, Watch, wake_main
from torch_lab.engine.ranks.failures import Failure, first, is_echo
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import RankLost, Stopped
from torch_lab.utils.launched import CHANNEL, Launch, leave_word
from torch_lab.utils.threads import ENDING
from torch_lab.utils.tracebacks import format_exception, summary

if TYPE_CHECKING:  # it imports torch
    from torch_lab.engine.ranks.meeting import Joined


# Seconds from a rank's failure …
_OWN = 0.5  # … in which rank 0 may come to an exception of its own before it is interrupted
_COLLECTIVES = 5.0  # … until the others are killed, so that no collective call waits for them
_STUCK = 15.0  # … until rank 0 ends without its main thread
_ENDING = 5.0  # seconds that followers have to end when they are told to
_HOOKS = 60.0  # seconds for what they do at the end by themselves, until that is said


@dataclass
class _Process:
    rank: int
    process: subprocess.Popen[bytes] | None  # None: another has started it
    channel: Channel
    host: str = ""
    here = False
    over = False  # it has said how it ended, or is gone

    def wait(self, seconds: float) -> int | None:
        """Its status when it has ended, which of another's can't be known."""
        return None if self.process is None else self.process.wait(seconds)

    def kill(self) -> None:
        """End it, at once where that can be done; another's ends itself when it is told."""
        if self.process is None:
            self.channel.send(end=True)
        else:
            self.process.kill()


class Lead:
    """Rank 0's place among the processes of its run; alone until it starts others.

    `give_up` must end the process: it is called, in a thread, with what the run fails with where
    the main thread waits for another rank in a call that nothing interrupts.
    """

    def __init__(
        self,
        stop: StopRequest,
        *,
        give_up: Callable[[BaseException], None] = lambda _: os._exit(1),
        log: Callable[[int], str] | None = None,
        launch: Launch | None = None,
    ) -> None:
        self.launch = launch
        self._stop = stop
        self._give_up = give_up
        self._log = log
        self._processes: dict[int, _Process] = {}
        self._agreement = Agreement()
        self._watch = Watch()
        self._changed = threading.Condition()
        self._failures: list[Failure] = []
        self._raised: BaseException | None = None
        self._own: tuple[float, BaseException] | None = None
        self._leaving = False
        self._answers: dict[int, int] | None = None
        self._save_wanted = False
        self._before: Any = signal.SIG_DFL

    # -- the launcher's -----------------------------------------------------------------------

    def start(
        self, rank: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start the process of another rank; its standard input is nobody's."""
        self._open()
        ours, theirs = Pipe()
        number = theirs.fileno()
        process = subprocess.Popen(
            command,
            env={**environment, CHANNEL: f"{number} {rank}"},
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._take(_Process(rank, process, Channel(ours)))
        return process

    def adopt(self, joined: Iterable[Joined]) -> None:
        """Lead processes that torchrun or srun has started."""
        for each in joined:
            self._open()
            self._take(_Process(each.rank, None, each.channel, each.host))

    def _open(self) -> None:
        if not self._processes:
            self._stop.on_signal = self._signalled
            self._before = signal.signal(WAKE, self._woken)
            self._watch.start()

    def _take(self, found: _Process) -> None:
        self._processes[found.rank] = found
        self._watch.post(lambda: self._watch.listen(found.channel, partial(self._hear, found)))

    def gather(self) -> None:
        """Wait until all ranks have come this far."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failures or all(each.here for each in self._processes.values())
            )
        self._raise_failure()

    # -- the boundaries' ----------------------------------------------------------------------

    def begins(self, batch: int) -> None:
        """Training goes on with this batch."""
        self._agreement.begins(batch)

    def wishes(self, batch: int, *, time_is_up: bool) -> Wish:
        """What all ranks do at the boundary after this batch."""
        if not self._processes:
            signum = self._stop.signum or 0
            return Wish(signum, time_is_up) if signum or time_is_up else NOTHING
        if time_is_up and not self._save_wanted:
            self._save_wanted = True
            self._watch.post(self._ask)
        return self._agreement.at(batch) or NOTHING

    def settled(self) -> None:
        """What was wished for is done: the next wish can be asked for."""
        if self._processes:
            self._watch.post(self._settled)

    # -- around training ------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """End with all ranks, and with the exception that came first."""
        try:
            yield
            self._wait_for_ends()
        except BaseException as error:  # a signal too; raised again
            cause = self._cause(error)
            if cause is error:
                self._leave_word(error)
                raise
            raise cause from None
        finally:
            self._close()

    def _leave_word(self, error: BaseException) -> None:
        """For torchrun's last lines, which name the process that failed first."""
        if self.launch is not None and error is not self._raised and not _is_signals(error):
            leave_word(summary(error), format_exception(error))

    def failing(self, error: BaseException) -> None:
        """An exception is on its way through Lightning; hooks that hear of it come next.

        The others can do nothing that those would wait for.
        """
        if self._processes and self._own is None and isinstance(error, Exception):
            self._own = time.monotonic(), error
            self._watch.post(self._end_all)
            self._watch.post(lambda: self._watch.later(_STUCK, self._leave_main_behind))

    def _wait_for_ends(self) -> None:
        """A rank may fail in the hooks of its end, which wait for nobody."""
        with self._changed:
            if not self._changed.wait_for(self._all_over, _HOOKS):
                self._say("waiting for other ranks, which have not ended yet")
                self._changed.wait_for(self._all_over)
        self._raise_failure()

    def _all_over(self) -> bool:
        return bool(self._failures) or all(each.over for each in self._processes.values())

    @staticmethod
    def _say(text: str) -> None:
        print(text, file=sys.stderr)

    def _raise_failure(self) -> None:
        if (failure := self._failure()) is not None:
            raise failure

    def _failure(self) -> BaseException | None:
        """The others' first failure, as one and the same exception."""
        if self._raised is None and (found := first(self._failures)) is not None:
            self._raised = self._as_raised(found)
        return self._raised

    def _as_raised(self, found: Failure) -> BaseException:
        error = found.exception()
        if self._log is not None and not found.signum:
            error.add_note(f"console log of rank {found.rank}: {self._log(found.rank)}")
        return error

    def _cause(self, error: BaseException) -> BaseException:
        """What the run fails with: this exception, or the one of another rank that led to it."""
        if not self._processes:
            return error
        self._leaving = True
        self._stop.hold()
        at, own = self._own or (time.monotonic(), error)
        if isinstance(error, Stopped) and self.launch is not None:
            return self._failure_before_signal() or error
        if isinstance(error, Stopped) or error is self._raised:
            return error
        if is_echo(own):
            with self._changed:
                self._changed.wait_for(lambda: self._failures, _COLLECTIVES)
            time.sleep(_OWN)  # the first word may be another echo
        found = first(self._failures)
        if found is None or (found.echo and not is_echo(own)):
            return own
        if not is_echo(own) and (at <= found.at or summary(own) == found.summary):
            return own
        self._raised = None
        return self._failure() or own

    def _failure_before_signal(self) -> BaseException | None:
        """What torchrun sends its signal for, as soon as one of its processes has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._failures, _OWN)
        found = first([each for each in self._failures if self._is_no_signals(each)])
        return None if found is None else self._as_raised(found)

    def _is_no_signals(self, failure: Failure) -> bool:
        """One that has not come so far has no handler yet, and dies of the same signal."""
        lost = failure.kind == RankLost.__name__ and not self._processes[failure.rank].here
        return not failure.signum and not lost

    def _close(self) -> None:
        if not self._processes:
            return
        self._leaving = True
        self._watch.post(self._end_all)
        end = time.monotonic() + _ENDING
        for each in self._processes.values():
            try:
                each.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait(_HOOKS)
        self._watch.stop()
        for each in self._processes.values():
            each.channel.close()
        signal.signal(WAKE, self._before)
        self._stop.on_signal = lambda _: None
        self._processes = {}

    # -- in the main thread, inside of a signal's handler ---------------------------------------

    def _signalled(self, signum: int) -> None:
        self._watch.post(lambda: self._tell_of(signum))

    def _woken(self, signum: int, frame: FrameType | None) -> None:
        if self._leaving:
            return
        self._raise_failure()
        self._stop.act()

    # -- in the watch's thread ------------------------------------------------------------------

    def _hear(self, sender: _Process, message: Message | None) -> None:
        if message is None:
            if not sender.over:
                self._failed(sender, self._death(sender))
        elif "at" in message:
            self._answered(sender.rank, message["at"])
        elif "signal" in message:
            self._stop.hear_of(message["signal"])
            self._tell_of(message["signal"])
            wake_main()
        elif "failed" in message:
            failure = Failure(**message["failed"])
            if sender.process is None:  # perhaps of a machine with a clock of its own
                failure = replace(failure, at=time.monotonic())
            self._failed(sender, failure)
        else:
            with self._changed:
                sender.here, sender.over = True, "over" in message
                self._changed.notify_all()

    def _death(self, sender: _Process) -> Failure:
        try:
            status = sender.wait(_COLLECTIVES)
        except subprocess.TimeoutExpired:
            status = None
        if sender.process is None:
            by = self.launch.by if self.launch is not None else ""
            return Failure.of_loss(sender.rank, sender.host, by)
        failure = Failure.of_death(sender.rank, status)
        # It had not come to where it tells of signals: killed, or ended as Python does then.
        signum = next((each for each in ENDING if status in (-each, 128 + each)), 0)
        return replace(failure, signum=signum)

    def _failed(self, sender: _Process, failure: Failure) -> None:
        if not self._failures:
            self._watch.later(_OWN, self._interrupt)
            self._watch.later(_COLLECTIVES, self._kill_all)
            self._watch.later(_STUCK, self._leave_main_behind)
        with self._changed:
            sender.over = True
            self._failures.append(failure)
            self._changed.notify_all()

    def _interrupt(self) -> None:
        if not self._leaving:
            wake_main()

    def _leave_main_behind(self) -> None:
        if self._leaving:
            return
        error = self._own[1] if self._own else self._failure()
        assert error is not None
        self._kill_all()
        self._give_up(error)

    def _kill_all(self) -> None:
        for each in self._processes.values():
            each.over = True
            each.kill()

    def _end_all(self) -> None:
        for each in self._processes.values():
            each.channel.send(end=True)

    def _tell_of(self, signum: int) -> None:
        for each in self._processes.values():
            each.channel.send(signal=signum)
        if self._stop.deferring:
            self._ask()

    def _ask(self) -> None:
        """Find the boundary at which all stop; one question at a time."""
        if self._answers is None:
            self._answers = {0: self._agreement.ask()}
            for each in self._processes.values():
                each.channel.send(ask=True)

    def _answered(self, rank: int, batch: int) -> None:
        assert self._answers is not None
        self._answers[rank] = batch
        if len(self._answers) <= len(self._processes):
            return
        until, signum = max(self._answers.values()), self._stop.signum or 0
        for each in self._processes.values():
            each.channel.send(until=until, signum=signum, save=self._save_wanted)
        self._agreement.decide(until, Wish(signum, self._save_wanted))

    def _settled(self) -> None:
        self._answers, self._save_wanted = None, False
        if self._stop.signum is not None and self._stop.deferring:
            self._ask()


def _is_signals(error: BaseException) -> bool:
    return isinstance(error, (Stopped, KeyboardInterrupt))
