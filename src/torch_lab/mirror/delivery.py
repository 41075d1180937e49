"""The bounded wait at a training's end, for what the sender has not sent yet."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch_lab.errors import StoreError
from torch_lab.mirror import state
from torch_lab.mirror.launch import Watch, problem
from torch_lab.mirror.senders import AWAY
from torch_lab.mirror.state import Mirror
from torch_lab.mirror.words import clean
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.threads import ENDING

LOOK = 0.1  # seconds between two looks at what is left
HOPE = 3.0  # seconds to wait for a server that can't be reached


@dataclass
class Wait:
    """Waits until a run that has ended is on the server, or for as long as it may."""

    run: RunDirectory
    ended: float | None  # when the run did: an earlier end of it may have been sent before
    watch: Watch
    show: Callable[[str], None]
    _stopped: bool = field(default=False, init=False)
    _drawn: str = field(default="", init=False)
    _hopeless: float | None = field(default=None, init=False)  # since when nothing can be sent

    def result(self, seconds: float) -> str:
        """Wait at most so many seconds; returns the line that says how it went."""
        self.watch.hurry()
        with self._stopped_by_signals():
            end = time.monotonic() + seconds
            mirror = self._mirror()
            while not self._over(mirror) and time.monotonic() < end:
                self._draw(self._progress(mirror))
                time.sleep(LOOK)
                mirror = self._mirror()
        return self._said(mirror)

    def _over(self, mirror: Mirror | None) -> bool:
        return self._stopped or self._sent(mirror) or self._in_vain()

    def _sent(self, mirror: Mirror | None) -> bool:
        return mirror is not None and mirror.done and mirror.ended == self.ended

    def _in_vain(self) -> bool:
        """Whether for some seconds now there has been no server, or nobody to send to it."""
        if not self.watch.failed and self.watch.news().state not in AWAY:
            self._hopeless = None
            return False
        now = time.monotonic()
        self._hopeless = self._hopeless or now
        return now - self._hopeless > HOPE

    def _mirror(self) -> Mirror | None:
        try:
            return state.read(self.run)
        except StoreError:
            return None

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        """A signal ends the wait, not the process: the run is over, and its status is known."""

        def stop(*_: object) -> None:
            self._stopped = True

        heard = [each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, stop) for each in heard}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    # -- what people are told ------------------------------------------------------------------

    def _draw(self, text: str) -> None:
        if text != self._drawn:
            self._drawn = text
            self.show(text)

    def _progress(self, mirror: Mirror | None) -> str:
        rest = what_is_left(mirror.left) if mirror is not None else ""
        return f"sending to ClearML{f': {rest} left' if rest else ''} (Ctrl-C: not to wait for it)"

    def _said(self, mirror: Mirror | None) -> str:
        if mirror is not None and self._sent(mirror):
            return f"sent to ClearML: {clean(mirror.page or mirror.task_id or '')}"
        return f"pending for ClearML: {self._why(mirror)}; `lab sync {self.run.name}` finishes it"

    def _why(self, mirror: Mirror | None) -> str:
        if self.watch.failed:
            return "no sender can be started"
        news = self.watch.news()
        if news.state in AWAY:
            return problem(news)
        if mirror is not None and mirror.problem:
            return clean(mirror.problem)
        rest = what_is_left(mirror.left) if mirror is not None else ""
        return f"{rest or 'the run is'} still on the way, in the background"


def what_is_left(left: Mapping[str, Any]) -> str:
    """What is still to be sent, in words."""
    parts = [f"{clean(count)} {clean(name)}" for name, count in left.items() if count]
    return ", ".join(parts)
