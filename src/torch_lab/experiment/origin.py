"""Where a cloned experiment came from: origin.json in its folder, written when it is cloned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
ORIGIN = "origin.json"


@dataclass(frozen=True)
class OriginRun:
    """The run whose code was taken."""

    id: str
    name: str


@dataclass(frozen=True)
class Origin:
    """What an experiment is a clone of; `path` is relative to the project.

    `commit` is the one that the code was of, changed since or not; None where git knew none.
    """

    experiment: str
    path: str
    created: float
    run: OriginRun | None = None
    commit: str | None = None


def read(directory: Path) -> Origin | None:
    """What an experiment's folder says of its origin; None where it says nothing readable."""
    try:
        return _parsed(json.loads((directory / ORIGIN).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # an experiment is none the worse for it


def content(origin: Origin) -> bytes:
    """The file's content."""
    data = {"format": FORMAT} | asdict(origin)
    return json.dumps(data, indent=2, ensure_ascii=False).encode() + b"\n"


def _parsed(data: Mapping[str, Any]) -> Origin:
    if data["format"] != FORMAT:
        raise ValueError(data["format"])
    run = data.get("run")
    return Origin(
        str(data["experiment"]),
        str(data["path"]),
        float(data["created"]),
        None if run is None else OriginRun(str(run["id"]), str(run["name"])),
        data.get("commit"),
    )
