"""A run's artifacts: its record, its code, and what `record().artifact` was given."""

from __future__ import annotations

import hashlib
import mimetypes
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.errors import ServerError
from torch_lab.mirror.sending.ledger import Ledger
from torch_lab.mirror.sending.places import Places
from torch_lab.mirror.sending.target import Target
from torch_lab.mirror.sending.uploads import Pause, Upload
from torch_lab.recording.items import Item
from torch_lab.store.paths import RunDirectory
from torch_lab.store.segments import segments


@dataclass(frozen=True)
class _Piece:
    """What becomes an artifact: a file, or several as an archive."""

    key: str
    path: Path
    members: tuple[Path, ...] = ()

    @property
    def stamp(self) -> list[list[int]] | None:
        """What changes with its contents; None where it isn't there."""
        stamps = [_stamp(file) for file in self.members or (self.path,)]
        return None if None in stamps or not stamps else stamps  # type: ignore[return-value]


@dataclass
class _UnderWay:
    """An upload, and what for."""

    key: str
    facts: dict[str, Any]
    upload: Upload
    temporary: Path | None


class Artifacts:
    """Keeps the task's artifacts what the run's files are."""

    def __init__(self, target: Target, run: RunDirectory, ledger: Ledger, places: Places) -> None:
        self._target = target
        self._run = run
        self._ledger = ledger
        self._places = places
        self._under_way: _UnderWay | None = None
        self.pause = Pause()
        self.sent: list[tuple[str, int]] = []

    def note(self, item: Item) -> None:
        """Be told of an artifact in the index; of several by one name the last counts."""
        known = self._ledger.mirror.artifacts.get(item.name)
        if known is None or known["file"] != item.file:
            self._ledger.mirror.artifacts[item.name] = {"file": item.file, "t": item.t}
        else:
            known.pop("superseded", None)

    def doubt(self) -> None:
        """Be told that the index is read anew: what it doesn't name any more has to go."""
        for facts in self._ledger.mirror.artifacts.values():
            if "t" in facts:
                facts["superseded"] = True

    def prune(self) -> None:
        """Take away what the index, read to its end, does not name."""
        known = self._ledger.mirror.artifacts
        for key in [key for key, facts in known.items() if facts.get("superseded")]:
            self._target.drop_artifact(key)
            del known[key]
            self._ledger.save()

    def step(self, *, ended: bool) -> bool:
        """Go on with what is under way, or begin the next; whether something is now."""
        if self._under_way is not None:
            if not self._under_way.upload.poll():
                return True
            self._finish(self._under_way)
        while self.pause.over:
            wanted = next(self._missing(ended=ended), None)
            if wanted is None:
                break
            self._begin(wanted)
            if self._under_way is None or not self._under_way.upload.poll():
                break
            self._finish(self._under_way)
        return self._under_way is not None

    def pending(self, *, ended: bool) -> list[str]:
        """The names of what the server has not got."""
        return [piece.key for piece in self._missing(ended=ended)]

    @property
    def uploading(self) -> bool:
        """Whether a file is on its way."""
        return self._under_way is not None

    def close(self) -> None:
        """End an upload that is under way; the next sender begins it again."""
        if self._under_way is not None:
            self._let_go(self._under_way)

    # -- which ones ----------------------------------------------------------------------------

    def _missing(self, *, ended: bool) -> Iterator[_Piece]:
        known = self._ledger.mirror.artifacts
        own = list(self._own(ended=ended))
        for piece in own:
            stamp = piece.stamp
            if stamp is not None and known.get(piece.key, {}).get("stamp") != stamp:
                yield piece
        names = {piece.key for piece in own}
        for key, facts in list(known.items()):
            file = self._run.path / str(facts["file"])
            if key not in names and "url" not in facts and file.exists():
                yield _Piece(key, file)

    def _own(self, *, ended: bool) -> Iterator[_Piece]:
        """What the run directory holds beside media/ and checkpoints/."""
        run = self._run
        yield _Piece("source", run.source_bundle)
        yield _Piece("environment.json", run.environment_file)
        yield _Piece("git.diff", run.git_diff)
        if ended:
            lines = [*_lines(run)]
            if lines:
                yield _Piece("journal", run.path / "journal", tuple(lines))
            yield _Piece("run.json", run.record_file)

    # -- one upload ----------------------------------------------------------------------------

    def _begin(self, piece: _Piece) -> None:
        """Upload it under a name that tells its contents."""
        try:
            stamp = piece.stamp
            temporary = self._packed(piece) if piece.members or piece.path.is_dir() else None
            sent = temporary or piece.path
            digest, size = _digest(sent)
        except OSError as error:
            self.pause.begin(f"{piece.path} can't be read: {error.strerror or error}")
            return
        facts = {
            **self._ledger.mirror.artifacts.get(piece.key, {}),
            "file": piece.path.relative_to(self._run.path).as_posix(),
            "stamp": stamp,
            "sha256": digest,
            "size": size,
            "url": self._places.artifact(piece.key, digest, sent.name),
        }
        self._under_way = _UnderWay(piece.key, facts, Upload(sent, facts["url"]), temporary)

    def _packed(self, piece: _Piece) -> Path:
        """An archive of a folder, or of some files of the run by their paths in it."""
        target = self._run.mirror_lock.path / f"{piece.path.name}.zip"
        root = self._run.path if piece.members else piece.path
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            for path in piece.members or sorted(piece.path.rglob("*")):
                archive.write(path, path.relative_to(root))
        return target

    def _finish(self, done: _UnderWay) -> None:
        self._under_way = None
        try:
            done.upload.result()
        except ServerError as error:
            self.pause.begin(error.message)
            return
        finally:
            self._let_go(done)
        self.pause.forget()
        self._register(done)
        self.sent.append((done.key, done.facts["size"]))

    def _let_go(self, done: _UnderWay) -> None:
        done.upload.end()
        if done.temporary is not None:
            with suppress(OSError):
                done.temporary.unlink()

    def _register(self, done: _UnderWay) -> None:
        facts = done.facts
        name = Path(facts["file"]).name
        packed = done.temporary is not None
        kind = "application/zip" if packed else mimetypes.guess_type(name)[0]
        entry = {
            "key": done.key,
            "type": "archive" if packed else "custom",
            "mode": "output",
            "uri": facts["url"],
            "hash": facts["sha256"],
            "content_size": facts["size"],
            "timestamp": int(facts.get("t") or time.time()),
            "type_data": {"content_type": kind or "application/octet-stream", "preview": name},
        }
        self._target.put_artifact(entry)
        self._ledger.mirror.artifacts[done.key] = facts
        self._ledger.save()


def _lines(run: RunDirectory) -> Iterator[Path]:
    """The files of lines, from which all that the server shows can be had again."""
    for folder in (run.metrics, run.media, run.machine, run.summaries):
        yield from segments(folder)
    yield from sorted([*run.path.glob("console*.log"), *run.path.glob("console*.times")])


def _stamp(file: Path) -> list[int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _digest(file: Path) -> tuple[str, int]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return digest, content.tell()
