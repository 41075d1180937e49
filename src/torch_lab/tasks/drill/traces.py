"""What was seen of a run, and in what two runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HINTS = ("data",)  # they tell who it may have been; alone they are no difference
INPUTS = ("order", "contents")
CORE = ("weight", "buffer", "gradient", "optimizer", "scheduler", "metric", "random", "logged")
SIDE = ("generator", "attribute", "global", "modes")
# What no two runs of the same training may differ in.
DECISIVE = (*CORE[:-1], "loss")
# In the order in which one thing leads to the other.
_CAUSALLY = (*INPUTS, "loss", *CORE, "validation", *SIDE)


@dataclass(frozen=True)
class Event:
    """The state at one moment."""

    at: str
    batch: int
    epoch: int
    mid_epoch: bool
    states: dict[str, str]
    unseen: tuple[str, ...] = ()


@dataclass
class Trace:
    """What was seen of one start of a run."""

    cast: dict[str, Any] = field(default_factory=dict)
    begin: Event | None = None
    resumed: Event | None = None
    boundaries: dict[int, Event] = field(default_factory=dict)
    end: Event | None = None
    changing: tuple[str, ...] = ()  # datasets that give other samples when asked again

    def __iter__(self) -> Iterator[Event]:
        """The boundaries and the end, as they came."""
        yield from (self.boundaries[batch] for batch in sorted(self.boundaries))
        if self.end is not None:
            yield self.end

    def everything(self) -> Iterator[Event]:
        """All of it."""
        yield from (each for each in (self.begin, self.resumed) if each is not None)
        yield from self

    def of(self, event: Event) -> Event | None:
        """What was seen here at the same place."""
        if event.at == "boundary":
            return self.boundaries.get(event.batch)
        found: Event | None = getattr(self, event.at)
        return found


def read_trace(file: Path) -> Trace:
    """What a witness wrote; those of other ranks are read with it."""
    trace = _read(file)
    for other in file.parent.glob(f"{file.stem}.[0-9]*{file.suffix}"):
        rank = other.stem.rpartition(".")[2]
        for event in _read(other).everything():
            own = trace.of(event)
            if own is not None:
                states = event.states.items()
                own.states.update({f"{key} on rank {rank}": each for key, each in states})
    return trace


def _read(file: Path) -> Trace:
    trace = Trace()
    lines = file.read_text().splitlines() if file.exists() else []
    for line in lines:
        values = json.loads(line)
        at = values["at"]
        if at == "start":
            trace.cast = values
            continue
        if at == "again":
            trace.changing = tuple(values["changing"])
            continue
        event = Event(**values | {"unseen": tuple(values["unseen"])})
        if at in ("begin", "resumed", "end"):
            setattr(trace, at, event)
        else:
            trace.boundaries[event.batch] = event
    return trace


def differing(one: Event, other: Event, but: Iterable[str] = ()) -> list[str]:
    """The keys whose states differ, in the order in which one thing leads to the other."""
    keys = (one.states.keys() | other.states.keys()) - set(but)
    found = [key for key in keys if one.states.get(key) != other.states.get(key)]
    return sorted(found, key=lambda key: (_rank(key), _is_private(key), key))


def _is_private(key: str) -> bool:
    """Whether an object keeps it to itself: its own names come later than what people know."""
    return key.rpartition("\t")[2].startswith("_")


def _rank(key: str) -> int:
    kind = kind_of(key)
    return _CAUSALLY.index(kind) if kind in _CAUSALLY else len(_CAUSALLY)


def kind_of(key: str) -> str:
    """What kind of state a key is about."""
    return key.partition(":")[0]


def of_kinds(keys: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """The keys that are about one of some kinds."""
    wanted = set(kinds)
    return [key for key in keys if kind_of(key) in wanted]


def noise(one: Trace, other: Trace) -> frozenset[str]:
    """The keys in which two runs differ that nobody has cut."""
    pairs = [(event, other.of(event)) for event in one]
    return frozenset(
        key for event, same in pairs if same is not None for key in differing(event, same)
    )
