"""At which boundary all ranks do the same, found without asking at every one of them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch_lab.utils.launched import Launch


@dataclass(frozen=True)
class Wish:
    """What is to happen at a boundary: end for a signal, or only save."""

    signum: int = 0
    save: bool = False


NOTHING = Wish()


class Ranks(Protocol):
    """This process's place among the processes of its run."""

    @property
    def launch(self) -> Launch | None:
        """How torchrun or srun has started all of them; None where rank 0 starts the others."""

    def start(
        self, rank: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start the process of another rank."""

    def gather(self) -> None:
        """Return when all have come this far; torch's own meeting place waits for half an hour."""

    def begins(self, batch: int) -> None:
        """Training goes on with this batch."""

    def wishes(self, batch: int, *, time_is_up: bool) -> Wish:
        """What all ranks do at the boundary after this batch."""

    def settled(self) -> None:
        """What was wished for is done."""

    def failing(self, error: BaseException) -> None:
        """An exception is on its way through Lightning; hooks that hear of it come next."""


class Agreement:
    """One rank's part: it is asked which batch is under way, and stops where the last one stops.

    The thread that hears the question sets a flag and then reads the batch; the main thread counts
    the batch and then reads the flag. So a boundary that was passed unnoticed is counted in the
    answer, and no rank is ever past the boundary that is decided on. A rank that waits for the
    decision keeps nobody waiting: threads answer, also while a step is under way.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._asked = False
        self._decided: tuple[int, Wish] | None = None
        self._changed = threading.Condition()

    def begins(self, batch: int) -> None:
        """This batch is under way."""
        self._under_way = batch

    def ask(self) -> int:
        """Let the main thread wait at its next boundary; returns the batch that it is in."""
        self._asked = True
        return self._under_way

    def decide(self, until: int, wish: Wish) -> None:
        """Let it go on, up to the boundary after that batch."""
        with self._changed:
            self._decided = until, wish
            self._changed.notify_all()

    def at(self, batch: int) -> Wish | None:
        """What to do at the boundary after this batch, in the main thread."""
        self._under_way = batch + 1
        if not self._asked:
            return None
        with self._changed:
            while self._decided is None:
                self._changed.wait()
            until, wish = self._decided
            if batch < until:
                return None
            self._asked, self._decided = False, None
        return wish
