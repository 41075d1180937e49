"""Around imports that take seconds: torch, Lightning, and scripts, which import them too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch_lab.utils.garbage import made_to_stay
from torch_lab.utils.interrupts import end_at_once

_LARGE = frozenset({"torch", "pytorch_lightning"})


@contextmanager
def importing() -> Iterator[None]:
    """Ctrl-C ends the process at once, and nothing looks for garbage among what stays."""
    with end_at_once():
        if sys.modules.keys() >= _LARGE:  # a notebook, say: what it has made may well go again
            yield
            return
        with made_to_stay():
            yield
