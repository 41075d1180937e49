"""A value that is made when it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Later:
    """Stands in a state for what is dear to make, and maybe never written."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __deepcopy__(self, memo: dict[int, Any]) -> Later:
        return self
