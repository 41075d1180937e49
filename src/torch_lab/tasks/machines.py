"""The processes and machines that trained a run, for those who look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

from torch_lab.store import environment
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record
from torch_lab.tasks.diff.machine import comparable
from torch_lab.tasks.table import MISSING
from torch_lab.utils.text import plural

_SAID = 3  # packages of another version that are named; more are counted


def processes(record: Record, more: int) -> str | None:
    """How many processes trained a run, if not one, and on how many machines."""
    found = (record.ledger or {}).get("processes")
    if not isinstance(found, int) or found < 2:
        return None
    return f"{found} on {more + 1} machines" if more else str(found)


def others(run: RunDirectory) -> tuple[dict[str, Any], ...]:
    """What environment.1.json and so on say, of the machines beside the first."""
    nodes = takewhile(lambda node: run.environment_of(node).exists(), count(1))
    return tuple(environment.read(run, node) for node in nodes)


def rows(first: Mapping[str, Any], more: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """A line for each of the other machines: its name, and what it has otherwise."""
    for number, each in enumerate(more, start=1):
        differs = list(_different(first, each))
        what = ", ".join(differs) if differs else "otherwise as the first"
        yield f"machine {number}", f"{each.get('host') or MISSING}: {what}" if each else MISSING


def _different(first: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    ours, theirs = comparable(first), comparable(other)
    for name in dict.fromkeys([*ours, *theirs]):
        # Variables tell each process its place.
        if name.islower() and name != "host" and ours.get(name) != theirs.get(name):
            yield f"{name} {theirs.get(name) or MISSING}"
    ours, theirs = first.get("packages") or {}, other.get("packages") or {}
    names = [each for each in {**ours, **theirs} if ours.get(each) != theirs.get(each)]
    yield from (f"{name} {theirs.get(name) or MISSING}" for name in names[:_SAID])
    if len(names) > _SAID:
        yield f"and {plural(len(names) - _SAID, 'other package')}"
