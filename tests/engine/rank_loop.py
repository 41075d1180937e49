"""The processes of a run as they see each other: they count batches, and do what is wished.

    rank_loop.py RANK FOLDER

FOLDER/order.json says how fast each rank is, and what happens to which one when; what a rank did
is in FOLDER/RANK. Nothing of torch is needed for that, so such a run takes no second.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from torch_lab.engine.ranks import Follower, Lead, Ranks, channel
from torch_lab.engine.ranks import lead as leading
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import ConfigurationError, Stopped
from torch_lab.utils.tracebacks import summary


def strike(what: str) -> None:
    """Let it happen."""
    if what == "raise":
        raise ValueError("boom")
    if what == "mistake":
        raise ConfigurationError("no such thing", hint="Try another.")
    if what == "echo":
        raise RuntimeError("[gloo/transport/tcp/pair.cc:5] Connection closed by peer [::1]:5")
    if what.startswith("exit"):
        os._exit(int(what[4:]))
    if what == "hang":
        time.sleep(1000)
    if what == "stuck":  # as in a call of C++ that waits for another rank
        signal.pthread_sigmask(signal.SIG_BLOCK, {channel.WAKE})
        time.sleep(1000)
    for name in what.split():
        signal.raise_signal(signal.Signals[name])


class Process:
    """One rank."""

    def __init__(self, rank: int, folder: Path) -> None:
        self.rank, self.folder = rank, folder
        self.order: dict[str, Any] = json.loads((folder / "order.json").read_text())
        self.world: int = len(self.order["pauses"])
        self.stop = StopRequest(30, folder / f"{rank}.stacks", silent=True)

    def note(self, *words: object) -> None:
        with (self.folder / str(self.rank)).open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def meets(self, at: object) -> None:
        """What is to happen to this rank here."""
        for each in self.order.get("faults", ()):
            if each["rank"] == self.rank and each["at"] == at:
                strike(each["what"])

    def wait_for_others(self, batch: int, what: str = "batch") -> None:
        """As a collective call does."""
        mine = self.folder / f"{self.rank}.{what}"
        mine.with_suffix(".new").write_text(str(batch))
        mine.with_suffix(".new").replace(mine)
        others = [self.folder / f"{rank}.{what}" for rank in range(self.world)]
        while not all(each.exists() and int(each.read_text()) >= batch for each in others):
            time.sleep(0.001)

    def train(self, ranks: Ranks) -> None:
        self.meets("start")
        ranks.gather()
        self.note("here")
        self.stop.deferring = True
        ranks.begins(1)
        for batch in range(1, self.order["batches"] + 1):
            self.meets(batch)
            time.sleep(self.order["pauses"][self.rank])
            if batch % self.order.get("every", 1) == 0:
                self.wait_for_others(batch)
            self.act(ranks, batch)
        self.stop.deferring = False
        self.note("trained")
        self.meets("end")

    def act(self, ranks: Ranks, batch: int) -> None:
        due = batch in self.order.get("time_is_up", ()) and self.rank == 0
        wish = ranks.wishes(batch, time_is_up=due)
        if wish.save or wish.signum:
            self.note("at", batch, wish.signum, wish.save)
            self.wait_for_others(batch, "save")  # every rank has a part in it
            ranks.settled()
        if wish.signum:
            raise Stopped(wish.signum)

    def run(self) -> None:
        if self.rank:
            follower = Follower.started(self.stop)
            with follower.together(), self.stop.listening():
                self.train(follower)
            return
        leading._STUCK = self.order.get("stuck", leading._STUCK)
        lead = Lead(self.stop, give_up=self.give_up)
        with self.stop.listening(), lead.together():
            for rank in range(1, self.world):
                words = [sys.executable, __file__, str(rank), str(self.folder)]
                lead.start(rank, words, os.environ)
            self.train(lead)

    def give_up(self, error: BaseException) -> None:
        self.note("gave up", summary(error))
        os._exit(1)


def main() -> None:
    process = Process(int(sys.argv[1]), Path(sys.argv[2]))
    process.note("pid", os.getpid())
    try:
        process.run()
    except (Exception, Stopped) as error:
        process.note(summary(error).partition("\n")[0])
        raise
    process.note("completed")


if __name__ == "__main__":
    main()
