"""Recorded images and figures, as much of them as a page can hold."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from torch_lab.errors import StoreError
from torch_lab.recording.items import Item, items
from torch_lab.tasks.plot.comparison import PlottedRun

ROOM = 12_000_000  # bytes of all files together
LARGEST = 1_000_000  # bytes of one; a larger picture is made smaller
_SIDE = 1024  # pixels
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Shown:
    """An item of a run whose file is there, as large as it will be in the page."""

    run: int
    item: Item
    file: Path
    size: int

    @property
    def moment(self) -> tuple[int, str, int]:
        """What was recorded together goes or stays together."""
        return self.run, self.item.name, self.item.batch


@dataclass(frozen=True)
class Gallery:
    """What a page shows of all that was recorded."""

    shown: tuple[Shown, ...]
    recorded: int

    def data(self) -> list[dict[str, Any]]:
        """By name, as the page's script takes it."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for each in self.shown:
            if (content := _data(each)) is not None:
                groups.setdefault(each.item.name, []).append(content)
        return [{"name": name, "items": contents} for name, contents in groups.items()]


def gallery(runs: Sequence[PlottedRun], room: int = ROOM) -> Gallery:
    """The images and figures of all runs: where they are too many, fewer moments of each name.

    The last moment of each stays longest.
    """
    every = [each for number, run in enumerate(runs) for each in _items(number, run)]
    shown, most = every, max((len(group) for group in _moments(every)), default=0)
    while shown and sum(each.size for each in shown) > room:
        if most <= 1:
            shown = _first(shown, room)
            break
        most = most // 2
        kept = {moment for group in _moments(every) for moment in _spread(group, most)}
        shown = [each for each in every if each.moment in kept]
    return Gallery(tuple(shown), len(every))


def _items(number: int, run: PlottedRun) -> Iterator[Shown]:
    try:
        found = list(items(run.stored.directory))
    except StoreError:
        return  # a page of curves is worth having without them
    for item in found:
        place = _source(item)
        if place is None or not place.startswith("media/") or ".." in PurePosixPath(place).parts:
            continue
        file = run.stored.directory.path / place
        try:
            size = 0 if file.is_symlink() else file.stat().st_size
        except (OSError, ValueError):
            continue
        if size and (item.data is None or size <= LARGEST):
            yield Shown(number, item, file, min(size, LARGEST))


def _source(item: Item) -> str | None:
    """The file to show: of an interactive figure what it is made of."""
    if item.kind == "figure" and isinstance(item.data, str):
        return item.data
    picture = item.kind in ("image", "figure") and PurePosixPath(item.file).suffix in _TYPES
    return item.file if picture else None


def _moments(shown: Sequence[Shown]) -> list[list[tuple[int, str, int]]]:
    """The moments of each name of each run, in their order."""
    groups: dict[tuple[int, str], dict[tuple[int, str, int], None]] = {}
    for each in shown:
        groups.setdefault(each.moment[:2], {})[each.moment] = None
    return [list(group) for group in groups.values()]


def _spread(group: Sequence[tuple[int, str, int]], most: int) -> list[tuple[int, str, int]]:
    """So many of them, evenly, the last one always."""
    if len(group) <= most:
        return list(group)
    step = len(group) / most
    return [group[len(group) - 1 - int(i * step)] for i in range(most)]


def _first(shown: Sequence[Shown], room: int) -> list[Shown]:
    """As many as there is room for."""
    kept: list[Shown] = []
    for each in shown:
        room -= each.size
        if room >= 0:
            kept.append(each)
    return kept


def _data(shown: Shown) -> dict[str, Any] | None:
    item = shown.item
    facts: dict[str, Any] = {
        "run": shown.run,
        "step": item.step,
        "epoch": item.epoch,
        "batch": item.batch,
    }
    if item.caption:
        facts |= {"caption": item.caption}
    content = _figure(shown.file) if item.data else _image(shown)
    return None if content is None else facts | content


def _figure(file: Path) -> dict[str, Any] | None:
    try:
        figure = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(figure, dict) or not isinstance(figure.get("data"), list):
        return None
    return {"figure": {"data": figure["data"], "layout": figure.get("layout") or {}}}


def _image(shown: Shown) -> dict[str, Any] | None:
    try:
        content, kind = shown.file.read_bytes(), _TYPES[shown.file.suffix]
    except (OSError, KeyError):
        return None
    if len(content) > LARGEST:
        content, kind = _smaller(content), "image/jpeg"
    address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return {"image": address, "size": shown.item.size} if content else None


def _smaller(content: bytes) -> bytes:
    """A picture in fewer bytes; nothing where it is none."""
    from PIL import Image  # comes with matplotlib

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((_SIDE, _SIDE))
            out = io.BytesIO()
            image.convert("RGB").save(out, format="JPEG", quality=88)
    except (OSError, ValueError):
        return b""
    return out.getvalue()
