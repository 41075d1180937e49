"""How long the server is waited for; light, for those who ask it through another process."""

from __future__ import annotations

LOOK = 15.0  # seconds for finding out what there is
_LEAST = 30.0  # seconds for a file, however small
_SLOWEST = 100_000  # bytes a second: what is slower is as good as hanging
_UNKNOWN = 3600.0  # seconds for a file of unknown size


def seconds_for(size: int | None) -> float:
    """How long a file of that many bytes may be on its way."""
    return _UNKNOWN if size is None else _LEAST + size / _SLOWEST
