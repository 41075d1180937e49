"""The runs of an artifacts folder that a server is to have, looked at without reading all anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch_lab.errors import StoreError
from torch_lab.mirror import state
from torch_lab.mirror.sending import seal
from torch_lab.mirror.state import Mirror
from torch_lab.store import record as records
from torch_lab.store.host import hostname
from torch_lab.store.lock import holder_of
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import UNFINISHED, Record

_ENDED = frozenset({"completed", "failed", "aborted", "incomplete", "lost"})


@dataclass(frozen=True)
class Candidate:
    """A run, and what was sent of it."""

    run: RunDirectory
    record: Record
    status: str
    mirror: Mirror | None

    @property
    def live(self) -> bool:
        """Whether somebody trains it."""
        return self.status in UNFINISHED

    @property
    def elsewhere(self) -> bool:
        """Whether it is trained on another machine, whose sender can stop it if it is told to."""
        holder = holder_of(self.run) if self.live else None
        return holder is not None and holder.process.host != hostname()

    @property
    def ours(self) -> bool:
        """Whether a sender may send it: it was made here, and has begun."""
        known = self.live or self.status in _ENDED
        return self.record.fetched is None and known

    def done(self, server: str | None = None) -> bool:
        """Whether all of it was sent, to this server if one is given, and nothing came since."""
        mirror = self.mirror
        if mirror is None or not mirror.done or self.live:
            return False
        return server in (None, mirror.server) and mirror.seal == seal(self.run)


class Backlog:
    """Looks at an artifacts folder again and again; a run that didn't change is not read again."""

    def __init__(self, artifacts: Path, lost_after: float) -> None:
        self._artifacts = artifacts
        self._lost_after = lost_after
        self._settled: dict[str, object] = {}  # run.json as it was when there was nothing to do
        self.runs: dict[str, RunDirectory] = {}  # by the run's id
        self.damaged: dict[str, str] = {}  # names of runs that can't be read, and why

    def look(self) -> list[Candidate]:
        """The runs with which something may have to be done, the oldest first."""
        found = [each for path in self._directories() if (each := self._candidate(path))]
        return sorted(found, key=lambda each: (each.record.created, each.run.name))

    def settle(self, candidate: Candidate) -> None:
        """Not to be looked at again until its record changes."""
        self._settled[candidate.run.name] = _stamp(candidate.run.record_file)

    def _directories(self) -> Iterator[Path]:
        try:
            yield from (path for path in self._artifacts.iterdir() if path.name[0] != ".")
        except OSError:  # there is none yet, or it can't be listed just now
            return

    def _candidate(self, path: Path) -> Candidate | None:
        run = RunDirectory(path)
        stamp = _stamp(run.record_file)
        if stamp is None or self._settled.get(run.name) == stamp:
            return None
        try:
            candidate = look_at(run, self._lost_after)
        except StoreError as error:  # damaged, or of a newer torch-lab: the others go on
            self.damaged[run.name] = error.message
            self._settled[run.name] = stamp
            return None
        self.runs[candidate.record.id] = run
        return candidate


def look_at(run: RunDirectory, lost_after: float) -> Candidate:
    """A run as it is now; StoreError where it can't be read."""
    record = records.read(run)
    return Candidate(run, record, records.status(run, record, lost_after), state.read(run))


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
