"""The process beside a training: it writes for TensorBoard and watches the machine's use.

It reads what training writes and is in nobody's way: of low priority, deaf to the signals that
end the training, and gone soon after it. It imports no torch. A word on its standard input says
that nothing more will come, and for how many seconds it may tell what is left; the end of the
process that started it says the same.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch_lab.recording import items
from torch_lab.recording.follow import Follower
from torch_lab.recording.machine import Machine, Sample, samples
from torch_lab.store import journal
from torch_lab.store.lock import holder_of
from torch_lab.store.paths import RunDirectory
from torch_lab.store.segments import Segment, encode

TICK = 0.25  # seconds between two looks at whether the training lives
POLL = 1.0  # seconds between two looks at what it wrote
DRAIN = 4.0  # seconds to tell what is left where nobody says how many
_DEAF = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class Order:
    """What the companion of one start of a run is to do."""

    run: str
    parent: int
    start: int
    tensorboard: bool
    machine_use_seconds: float
    token: str = ""  # of the run's lock; another's, or none: the run goes on without this start

    def words(self) -> str:
        """The order as an argument."""
        return json.dumps(asdict(self))


def main(words: str) -> None:
    """Do what was ordered until the training has ended."""
    for signum in _DEAF:
        signal.signal(signum, signal.SIG_IGN)
    os.nice(19)
    Loop(Order(**json.loads(words))).follow()


class Loop:
    """Tells TensorBoard, samples the machine, and watches for the end."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._run = RunDirectory(Path(order.run))
        self._teller = Teller(self._run, order.start) if order.tensorboard else None
        self._use: Segment | None = None
        self._machine = Machine(order.parent) if order.machine_use_seconds else None
        self._sampled = time.monotonic()
        self._patience = DRAIN

    def follow(self) -> None:
        """Until the training has ended or says that it will, and what it wrote is told."""
        told = -POLL
        while not self._over():
            now = time.monotonic()
            tells = self._teller is not None and now - told >= POLL
            samples = now - self._sampled >= self._order.machine_use_seconds
            if (tells or samples) and self._is_superseded():
                break
            if self._teller is not None and tells:
                told = now
                self._teller.tell(self._orphaned)
            if samples:
                self._sample()
        if self._is_superseded():
            self._give_way()
        else:
            self._finish()

    def _is_superseded(self) -> bool:
        """Whether another process has taken the run over, or somebody has deleted it."""
        if not self._order.token:
            return False
        holder = holder_of(self._run)
        if holder is not None:
            return holder.token != self._order.token
        with suppress(OSError):
            return not self._run.lock.exists()
        return False  # it can't be read at the moment

    def _give_way(self) -> None:
        """Leave without a word more."""
        if self._teller is not None:
            self._teller.close()
        if self._use is not None:
            self._use.close()

    def _finish(self) -> None:
        end = time.monotonic() + self._patience
        if self._use is None and not self._orphaned():
            self._sample()  # else a short run would have none
        if self._teller is not None:
            self._teller.finish(lambda: time.monotonic() > end)
        if self._use is not None:
            self._use.close()

    def _over(self) -> bool:
        """Wait a little for the end. Loader workers may hold the other end of the pipe open."""
        ready, _, _ = select.select([0], [], [], TICK)
        if ready:
            self._patience = float(os.read(0, 100) or DRAIN)
        return bool(ready) or self._orphaned()

    def _orphaned(self) -> bool:
        return os.getppid() != self._order.parent

    def _sample(self) -> None:
        if self._machine is None:
            return
        self._sampled = time.monotonic()
        sample = Sample(round(time.time(), 3), self._machine.sample())
        if self._use is None:
            self._use = Segment(self._run.machine, None, "the machine's use in")
        self._use.write(encode({"t": sample.t, "values": sample.values}))
        if self._teller is not None:
            self._teller.events.sample(sample)


class Teller:
    """Tells TensorBoard what counts of a run: all there is, then what comes."""

    def __init__(self, run: RunDirectory, start: int) -> None:
        from torch_lab.recording import events

        self.events = events.EventFile(run, start)
        self._earlier = samples(run)
        self._streams: list[tuple[Follower[Any], Callable[[Any], None]]] = [
            (Follower(run.metrics, journal.parse), self.events.row),
            (Follower(run.media, items.parse), self.events.item),
            (Follower(run.summaries, events.parse), self.events.kept),
        ]
        self._under_way: Iterator[None] | None = self._all_there_is()

    def tell(self, given_up: Callable[[], bool]) -> bool:
        """Tell what has come since the last time; whether nothing of that is left."""
        telling = self._under_way or self._news()
        self._under_way = telling
        for count, _ in enumerate(telling):
            if count % 200 == 199 and given_up():
                return False
        self._under_way = None
        self.events.flush()
        return True

    def finish(self, given_up: Callable[[], bool]) -> None:
        """Tell what is left, unless that takes too long: the next start tells it again."""
        if self.tell(given_up):
            self.tell(given_up)
        self.close()

    def close(self) -> None:
        """Tell nothing more."""
        for follower, _ in self._streams:
            follower.close()
        self.events.close()
        self.events.give_way()

    def _all_there_is(self) -> Iterator[None]:
        yield from map(self.events.sample, self._earlier)
        yield from self._news()
        self.events.replace_earlier()

    def _news(self) -> Iterator[None]:
        for follower, tell in self._streams:
            yield from map(tell, follower.poll())


if __name__ == "__main__":
    main(sys.argv[1])
