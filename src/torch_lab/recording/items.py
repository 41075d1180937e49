"""What lies in a run's media folder: one line of its index for each item."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from torch_lab.store.paths import RunDirectory
from torch_lab.store.segments import counting

KINDS = ("image", "figure", "table", "text", "artifact")


@dataclass(frozen=True)
class Item:
    """Something that was recorded while `batch` was under way; `file` lies in the run directory."""

    t: float
    batch: int
    step: int
    epoch: int
    kind: str
    name: str
    file: str
    caption: str | None = None
    index: int | None = None  # which of several that were recorded together
    size: tuple[int, int] | None = None  # width and height in pixels
    data: str | None = None  # the file with what an interactive figure is made of

    def as_content(self) -> dict[str, Any]:
        """What the line says: nothing of what the item hasn't got."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def items(run: RunDirectory) -> Iterator[Item]:
    """The run's items that count, in the order in which they were recorded."""
    return counting(run.media, parse)


def parse(content: dict[str, Any]) -> Item | None:
    """The item that a line's content is, if it is one; unknown keys are passed over."""
    known = {key: content[key] for key in Item.__dataclass_fields__ if key in content}
    try:
        if "size" in known:
            known["size"] = tuple(known["size"])
        item = Item(**known)
    except TypeError:
        return None
    whole = isinstance(item.batch, int) and isinstance(item.file, str)
    return item if whole and isinstance(item.name, str) else None


_ODD = re.compile(r"[^\w.+=@()-]+")
_RESERVED = re.compile(r"\d{4,}")  # begins the names of files that this package makes itself
_LONGEST = 80


def folder_of(name: str) -> str:
    """The folder under media/ for what goes by this name; slashes make folders of folders.

    Different names may share one: their files are told apart by number, and by the index.
    """
    parts = [_part(part) for part in name.split("/") if part.strip()]
    return "/".join(parts[:8]) or "_"


def _part(text: str) -> str:
    plain = _ODD.sub("_", text.strip()).lstrip(".")
    while len(plain.encode()) > _LONGEST:
        plain = plain[:-1]
    plain = plain.rstrip(".") or "_"
    return f"_{plain}" if _RESERVED.match(plain) else plain
