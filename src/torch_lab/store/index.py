"""What listings need of the runs that have ended, kept in the user's cache folder.

One file for each artifacts folder, replaced as a whole. It is only ever believed about a run.json
that is, by its times, its size and its inode, the very file that was read; without it, damaged or
of another folder, everything is read as if there had never been one. No mmap, no database and no
lock: it may lie on a network file system, like the runs themselves.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zlib import crc32

from torch_lab.store import heartbeat
from torch_lab.store.flat import Brief, Facts, Shape, shape
from torch_lab.store.record import UNFINISHED
from torch_lab.utils.files import write_atomic

FORMAT = 1
_MAGIC = b"torch-lab index %d\n" % FORMAT
_HEAD = struct.Struct(">IH")  # the checksum of all that follows, the length of the folder's name
_MARSHAL = 4  # a version that every Python reads
_SUFFIX = ".index"
# A file may be replaced twice within a tick of the clock that stamps it, and its inode be used
# again: what was written so shortly before it was read is read again the next time.
_TICK = 3.0  # seconds
# Reading so many records takes no longer than writing the index anew.
_FEW, _SHARE = 20, 200
_LONGEST = 4096  # bytes of a folder's name
_KEPT = 86400.0  # seconds that the index of a folder that isn't there is left alone


class Key(NamedTuple):
    """What tells one run.json from all others of its name."""

    modified: int
    changed: int
    size: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Key:
        """The key of a file that is open: a bare look at a name may be minutes old."""
        return cls(stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)


class Known(NamedTuple):
    """A run as the index has it; its values are unpacked when they are asked for."""

    brief: Brief
    shape: Shape
    packed: bytes

    @property
    def facts(self) -> Facts:
        """All that was recorded of it."""
        return Facts(self.shape, marshal.loads(self.packed))


class Read(Protocol):
    """A run that was read from its run.json."""

    @property
    def brief(self) -> Brief:
        """What lists need."""

    @property
    def facts(self) -> Facts:
        """All that was recorded of it."""


_Entry = tuple[tuple[int, ...], tuple[Any, ...], int, bytes]  # file, brief, whose keys, values


class Index:
    """The index of one artifacts folder, as it was read, and what is learned on the way."""

    def __init__(self, artifacts: Path) -> None:
        self._begun = time.monotonic()
        self._folder = os.path.realpath(artifacts)
        self._file = file_of(self._folder)
        self._shapes, self._entries = _read(self._file, self._folder)
        self._met: set[str] = set()
        self._fresh: dict[str, tuple[Key, Read]] = {}

    def get(self, name: str, key: Key) -> Known | None:
        """What is known of the run of this name, if its run.json is the one that was read."""
        entry = self._entries.get(name)
        if entry is None or entry[0] != key:
            return None
        self._met.add(name)
        return Known(Brief._make(entry[1]), self._shapes[entry[2]], entry[3])

    def learn(self, name: str, key: Key, run: Read) -> None:
        """Note a run that was read; those that may go on at any moment are always read anew."""
        if run.brief.status not in UNFINISHED:
            self._fresh[name] = (key, run)

    def save(self) -> None:
        """Write the index if that will save more than it costs; no harm is done where it fails."""
        gone = len(self._entries) - len(self._met)
        few = _FEW + len(self._entries) // _SHARE
        if self._file is None or max(len(self._fresh), gone) <= few:
            return
        fresh = dict(self._settled())
        if not fresh and not gone:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomic(self._file, self._content(fresh), durable=False)
            _prune(self._file.parent)

    def _settled(self) -> Iterator[tuple[str, tuple[Key, Read]]]:
        """What was learned of files that had lain there for a while, by the file server's clock."""
        begun = heartbeat.server_time(Path(self._folder)) - (time.monotonic() - self._begun)
        latest = int((begun - _TICK) * 1e9)
        for name, (key, run) in self._fresh.items():
            if max(key.modified, key.changed) < latest:
                yield name, (key, run)

    def _content(self, fresh: Mapping[str, tuple[Key, Read]]) -> bytes:
        shapes: dict[tuple[str, ...], int] = {}
        entries: dict[str, _Entry] = {}
        for name in self._met - fresh.keys():
            key, brief, number, packed = self._entries[name]
            keys = self._shapes[number].keys
            entries[name] = (key, brief, shapes.setdefault(keys, len(shapes)), packed)
        for name, (key, run) in fresh.items():
            facts = run.facts
            number = shapes.setdefault(facts.shape.keys, len(shapes))
            with contextlib.suppress(ValueError):  # a record that holds what none should
                entry = (tuple(key), tuple(run.brief), number)
                marshal.dumps(entry, _MARSHAL)
                entries[name] = (*entry, marshal.dumps(facts.values, _MARSHAL))
        folder = os.fsencode(self._folder)
        body = folder + marshal.dumps((list(shapes), entries), _MARSHAL)
        return _MAGIC + _HEAD.pack(crc32(body), len(folder)) + body


def file_of(folder: str) -> Path | None:
    """Where the index of an artifacts folder is kept; None where the user has no cache folder."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    cache = chosen if os.path.isabs(chosen) else os.path.expanduser("~/.cache")  # noqa: PTH111, PTH117
    name = os.fsencode(folder)
    if not os.path.isabs(cache) or len(name) > _LONGEST:  # noqa: PTH117  a home that isn't known
        return None
    return Path(cache, "torch-lab", f"{crc32(name):08x}{crc32(name[::-1]):08x}{_SUFFIX}")


def _read(file: Path | None, folder: str) -> tuple[list[Shape], dict[str, _Entry]]:
    """Whose keys there are and what is known; nothing of what isn't whole, or isn't one's own."""
    try:
        content = b"" if file is None else _own(file)
        if not content.startswith(_MAGIC):
            return [], {}
        checksum, length = _HEAD.unpack_from(content, len(_MAGIC))
        body = memoryview(content)[len(_MAGIC) + _HEAD.size :]
        if crc32(body) != checksum or os.fsdecode(bytes(body[:length])) != folder:
            return [], {}
        shapes, entries = marshal.loads(body[length:])
        return [shape(keys) for keys in shapes], entries
    except (OSError, ValueError, EOFError, TypeError, struct.error):
        return [], {}


def _own(file: Path) -> bytes:
    """A file's content, nothing of one that another user has put there."""
    descriptor = os.open(file, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read() if os.fstat(descriptor).st_uid == os.geteuid() else b""


def _prune(cache: Path) -> None:
    """Take away the indexes of folders that are gone, and what a killed process has left."""
    for path in cache.iterdir():
        with contextlib.suppress(OSError, struct.error):
            if time.time() - path.stat().st_mtime > _KEPT and _is_litter(path):
                path.unlink()


def _is_litter(path: Path) -> bool:
    if path.suffix == ".tmp":
        return _SUFFIX in path.name
    if path.suffix != _SUFFIX:
        return False
    with path.open("rb") as file:
        head = file.read(len(_MAGIC) + _HEAD.size + _LONGEST)
    if not head.startswith(_MAGIC):
        return True
    _, length = _HEAD.unpack_from(head, len(_MAGIC))
    name = head[len(_MAGIC) + _HEAD.size :][:length]
    return not os.path.isdir(os.fsdecode(name))  # noqa: PTH112  Path.is_dir can raise
