"""Stand-ins for classes and functions that a checkpoint names and that nobody has to load.

Lightning puts a module's arguments into each checkpoint, `output_transform` and the like included.
torch's safe loader refuses such a file as a whole, though nothing but the arguments needs the
classes. With a stand-in in the place of each, which does nothing whatever it is called with, the
rest opens, and no code of the file's choosing runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class StandIn:
    """Takes every argument and every state, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> StandIn:  # noqa: ARG004
        """An object that keeps nothing of what it is given."""
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Forget the arguments."""

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


def stand_in(name: str) -> type[StandIn]:
    """A class that torch's safe loader takes for the one, or the function, of that dotted name."""
    module, _, own = name.rpartition(".")
    return type(own, (StandIn,), {"__module__": module, "__qualname__": own})


def names(value: Any) -> Iterator[str]:
    """What stand-ins there are in plain data stand for."""
    if isinstance(value, StandIn) or _is_class(value):
        yield text(value)
    elif isinstance(value, Mapping):
        for pair in (*value.items(), *getattr(value, "__dict__", {}).items()):
            yield from names(pair)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from names(each)


def as_text(value: Any) -> Any:
    """Plain data with each stand-in as the name of what it stands for."""
    if isinstance(value, StandIn) or _is_class(value):
        return text(value)
    if isinstance(value, Mapping):
        return {as_text(key): as_text(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(as_text(each) for each in value)
    return value


def text(value: Any) -> str:
    """The dotted name of what a stand-in stands for."""
    kind = value if _is_class(value) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, StandIn)
