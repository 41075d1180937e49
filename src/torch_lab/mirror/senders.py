"""Where the sender of an artifacts folder lives on this host, and what it says of itself.

There is one for each host and folder; whoever holds the lock in its home is it. It alone writes
`state.json` there. Trainings read it, and whatever it holds must not hurt them.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch_lab.store.failures import storing
from torch_lab.store.heartbeat import touch
from torch_lab.store.host import hostname
from torch_lab.store.lock import holder_of, is_alive
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.files import write_atomic

FORMAT = 1
SENDERS = ".senders"
AWAY = frozenset({"unreachable", "refused", "unconfigured"})  # states in which nothing is sent


@dataclass(frozen=True)
class State:
    """What a sender last said of itself."""

    state: str = ""  # connecting, connected, unreachable, refused, unconfigured
    problem: str | None = None
    since: float = 0.0  # when it came into this state
    server: str = ""  # the server's address, without credentials
    pid: int = 0


def home(artifacts: Path) -> RunDirectory:
    """The folder of this host's sender: its lock, heartbeat, state and log."""
    return RunDirectory(artifacts / SENDERS / hostname())


def log_file(artifacts: Path) -> Path:
    """What the sender prints."""
    return home(artifacts).path / "sender.log"


def lives(artifacts: Path, lost_after: float) -> bool:
    """Whether a sender is at work here."""
    place = home(artifacts)
    return place.lock.exists() and is_alive(place, holder_of(place), lost_after)


def current(artifacts: Path, lost_after: float) -> State:
    """What the sender says that is at work now; an empty state where there is none, or nothing."""
    place, state = home(artifacts), read_state(artifacts)
    holder = holder_of(place)
    known = holder is not None and holder.process.pid == state.pid
    return state if known and is_alive(place, holder, lost_after) else State()


def hurry(artifacts: Path) -> None:
    """Have the sender here try again at once; one that reaches no server gives way to another."""
    with suppress(OSError):  # it tries again anyhow, later
        touch(_wish(artifacts))


def hurried(artifacts: Path) -> float:
    """When somebody last asked for that; 0 for never."""
    try:
        return _wish(artifacts).stat().st_mtime
    except OSError:
        return 0.0


def write_state(artifacts: Path, state: State) -> None:
    """Replace what is said of the sender."""
    file = _state_file(artifacts)
    text = json.dumps({"format": FORMAT, **asdict(state)}) + "\n"
    with storing("write", file):
        write_atomic(file, text.encode(), durable=False)


def read_state(artifacts: Path) -> State:
    """What the sender last said; an empty state where nothing that makes sense is there."""
    try:
        with _state_file(artifacts).open("rb") as file:
            content = json.loads(file.read(65536))
        known = {each.name: content[each.name] for each in fields(State) if each.name in content}
    except (OSError, ValueError, TypeError, RecursionError):
        return State()
    return State(**{name: value for name, value in known.items() if _fits(name, value)})


def _wish(artifacts: Path) -> Path:
    return home(artifacts).path / "hurry"


def _state_file(artifacts: Path) -> Path:
    return home(artifacts).path / "state.json"


_TYPES: dict[str, Any] = {"state": str, "problem": (str, type(None)), "server": str}
_TYPES |= {"since": (int, float), "pid": int}


def _fits(name: str, value: object) -> bool:
    return isinstance(value, _TYPES[name])
