"""What goes wrong, when a test asks for it: which requests it hits, and what happens to them."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatch

KINDS = (
    *("refuse", "hang", "error", "cut", "drop", "files"),
    *("slow", "garbage", "redirect", "huge", "trickle"),
)


@dataclass
class Fault:
    """One kind of failure, for the requests that it is limited to."""

    kind: str
    endpoints: tuple[str, ...] = ("*",)  # patterns of names: "events.*", "files.*", "files.POST"
    after: int = 0  # so many of these requests are still served
    times: int | None = None  # then so many fail; None: all
    done: bool = False  # what was asked for is done first: only the answer is lost
    status: int = 500  # of "error" and "files"
    seconds: float = 1.0  # of "slow" and "trickle": for each request, for each byte
    size: int = 2**40  # of "huge"
    to: str = ""  # of "redirect"
    seen: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(KINDS)}")
        self.endpoints = tuple(self.endpoints)
        if self.kind == "files":
            self.kind, self.endpoints = "error", ("files.*",)
        elif self.kind == "cut" and self.endpoints == ("*",):
            self.endpoints = ("files.POST",)

    def hits(self, name: str) -> bool:
        """Whether it is this request's turn to fail."""
        if not any(fnmatch(name, pattern) for pattern in self.endpoints):
            return False
        self.seen += 1
        past = self.seen - self.after
        return past > 0 and (self.times is None or past <= self.times)


@dataclass
class Faults:
    """The faults in force, and how often each endpoint was asked."""

    active: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    healed: threading.Event = field(default_factory=threading.Event)
    hanging: int = 0  # requests that wait for an answer now
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """One more thing goes wrong from now on."""
        with self._lock:
            self.healed.clear()
            self.active.append(fault)

    def heal(self) -> None:
        """Nothing goes wrong any more; what hangs is let go."""
        with self._lock:
            self.active.clear()
            self.healed.set()

    def of(self, name: str) -> Fault | None:
        """Count a request, and say what goes wrong with it."""
        with self._lock:
            self.counts[name] += 1
            return next((fault for fault in self.active if fault.hits(name)), None)
