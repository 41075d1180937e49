"""Memory that is free for this process, and a watch on what is collected in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.utils.text import format_size

_TIMES = 2.0  # batches, and the one array that is made of them, are there together
_FIRST = 3  # batches after which the rest is estimated


class Watch:
    """Raises before a loader's batches are more than memory has room for."""

    def __init__(self, name: str, expected: int | None) -> None:
        self._name = name
        self._expected = expected
        self._batches = 0
        self._bytes = 0
        self._free = available()

    def add(self, x: Any) -> None:
        """A batch more."""
        self._batches += 1
        self._bytes += size_of(x)
        if self._free is None or self._bytes == 0:
            return
        total = self._bytes
        if self._expected is not None and self._batches >= min(_FIRST, self._expected):
            total = max(total, self._bytes * self._expected // self._batches)
        if total * _TIMES > self._free:
            self._refuse(total)

    def _refuse(self, total: int) -> None:
        at_least = "" if self._expected is not None else "at least "
        raise ConfigurationError(
            f"{self._name}: an estimator needs all samples at once, {at_least}"
            f"{format_size(total)} of them and as much again while they are put together;"
            f" {format_size(self._free or 0)} of memory are free",
            hint="Fewer samples (trainer.init.limit_train_batches), smaller ones, or an estimator"
            " with partial_fit and trainer.init.max_epochs, which takes batch by batch.",
        )


def size_of(x: Any) -> int:
    """The bytes that an array holds; of what is none, 0."""
    if hasattr(x, "data") and hasattr(x, "indptr"):  # a sparse matrix
        return int(x.data.nbytes + x.indices.nbytes + x.indptr.nbytes)
    if hasattr(x, "memory_usage"):  # a data frame
        used = x.memory_usage(deep=False)
        return int(used.sum() if hasattr(used, "sum") else used)
    return int(getattr(x, "nbytes", 0) or 0)


def available() -> int | None:
    """Bytes that this process may still take: the machine's, and its container's; None: unknown."""
    free = []
    told = re.search(r"^MemAvailable:\s+(\d+) kB", _contents("/proc/meminfo"), re.MULTILINE)
    if told:
        free.append(int(told[1]) * 1024)
    limit, used = _contents("/sys/fs/cgroup/memory.max"), _contents("/sys/fs/cgroup/memory.current")
    if limit.strip().isdigit() and used.strip().isdigit():
        cache = re.search(
            r"^inactive_file (\d+)$", _contents("/sys/fs/cgroup/memory.stat"), re.MULTILINE
        )
        free.append(int(limit) - int(used) + int(cache[1] if cache else 0))
    return max(0, min(free)) if free else None


def _contents(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
