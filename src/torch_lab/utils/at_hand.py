"""What a debugger opened on an exception should have at hand, carried by the exception itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def at_hand(**names: Any) -> Iterator[None]:
    """Give what is raised inside these names; the innermost of several has the say."""
    try:
        yield
    except Exception as error:  # any: it is raised again, and now carries the names
        error.at_hand = names | dict(found(error))  # type: ignore[attr-defined]
        raise


def found(error: BaseException) -> Mapping[str, Any]:
    """What an exception was given."""
    names: Mapping[str, Any] = getattr(error, "at_hand", {})
    return names
