"""Saves that come too often for what they cost wait in memory.

An ensemble that grows is written whole at each save, and its rounds can be short. What is due soon
after a save that took long waits for a later one; of what waits only the best is kept.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from torch_lab.checkpoints import files
from torch_lab.checkpoints.keeper import SavePoint

_PAUSE = 50  # times what a save takes: saves take a fiftieth of the time


@dataclass(frozen=True)
class Held:
    """A checkpoint that is not on disk yet."""

    contents: dict[str, Any]  # encoded
    point: SavePoint


class Thrift:
    """Says which saves wait, and keeps the best of those that do.

    Within `frozen` the module's state can be kept while training goes on; without it none waits.
    """

    def __init__(self, frozen: Callable[[], AbstractContextManager[None]] | None = None) -> None:
        self._frozen = frozen
        self._earliest = 0.0
        self._held: Held | None = None
        self.owes = False  # whether anything that was due is not on disk

    def waits(self) -> bool:
        """Whether what is due now is better saved later."""
        return self._frozen is not None and time.monotonic() < self._earliest

    @contextmanager
    def paying(self) -> Iterator[None]:
        """Make a save within; the longer it takes, the later is the next."""
        begin = time.monotonic()
        yield
        end = time.monotonic()
        self._earliest = end + _PAUSE * (end - begin)
        self.owes = False

    @contextmanager
    def freezing(self) -> Iterator[None]:
        """Within, the module's state can be kept."""
        assert self._frozen is not None
        with self._frozen():
            yield

    def keep(self, checkpoint: dict[str, Any], point: SavePoint) -> None:
        """Keep the best in memory; the one before it is best no more."""
        self._held = Held(copy.deepcopy(files.encoded(checkpoint)), point)

    def take(self) -> Held | None:
        """What was kept, once."""
        held, self._held = self._held, None
        return held
