"""Which runs must stay, whatever was asked for, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch_lab.errors import StoreError, UsageError
from torch_lab.mirror.configured import configured
from torch_lab.settings import Settings
from torch_lab.store.find import DAMAGED, StoredRun
from torch_lab.store.lock import holder_of, is_alive
from torch_lab.store.record import QUEUED, UNFINISHED
from torch_lab.tasks.remove import trash
from torch_lab.tasks.slurm_queue import REQUEUED
from torch_lab.utils.paths import display
from torch_lab.utils.text import plural


@dataclass(frozen=True)
class Kept:
    """A run that stays though it was chosen, and why."""

    run: StoredRun
    why: str


class Guard:
    """Knows which runs must not be touched."""

    def __init__(
        self,
        known: Iterable[StoredRun],
        leaving: Sequence[StoredRun],
        settings: Settings,
        *,
        force: bool,
        slim: bool,
    ) -> None:
        names = {run.folder for run in leaving}
        self._children: dict[str, str] = {}
        for run in known:
            parent = run.brief.parent
            if parent is not None and run.folder not in names:
                self._children.setdefault(parent, run.brief.name)
        self._settings = settings
        self._mirrored = configured() and not settings.offline
        self._force = force
        self._slim = slim

    def reason(self, run: StoredRun) -> str | None:
        """Why a run must stay; None where it may go."""
        never = self._lives(run) or self._strange(run)
        return never or (None if self._force else self._wanted(run))

    def _lives(self, run: StoredRun) -> str | None:
        directory = run.directory
        if run.status in UNFINISHED:
            return f"it is {run.status}"
        holder = holder_of(directory) if directory.lock.exists() else None
        if holder is not None and is_alive(directory, holder, self._settings.lost_after):
            return f"{holder} writes to it"
        return None

    def _strange(self, run: StoredRun) -> str | None:
        if run.directory.path.is_symlink():
            return "it is a link: what it leads to is left alone" if self._slim else None
        mounted = trash.mounted_in(run.directory.path)
        if mounted is not None:
            return f"another file system is mounted in it: {display(mounted)}"
        return "its record is damaged" if self._slim and run.status == DAMAGED else None

    def _wanted(self, run: StoredRun) -> str | None:
        child = self._children.get(run.brief.id) if run.brief.id else None
        if child is not None and not self._slim:
            return f"{child} starts from it"
        if run.status == QUEUED:
            return "it waits in a queue"
        if run.status == REQUEUED:
            return "Slurm is to start it again"
        if self._mirrored and self._unsent(run):
            return "not all of it is on the ClearML server yet (`lab sync`)"
        return None

    def _unsent(self, run: StoredRun) -> bool:
        if run.status == DAMAGED:
            return False
        from torch_lab.mirror import state
        from torch_lab.mirror.backlog import Candidate

        try:
            mirror = state.read(run.directory)
        except StoreError:  # of a newer torch-lab: nobody here knows
            return True
        candidate = Candidate(run.directory, run.record, run.status, mirror)
        return candidate.ours and not candidate.done()


def refusal(kept: Sequence[Kept]) -> UsageError:
    """What is said of runs that were named and must stay."""
    lines = "\n".join(f"  {each.run.folder}: {each.why}" for each in kept)
    return UsageError(
        f"{plural(len(kept), 'run')} can't be deleted\n{lines}",
        hint="Nothing was deleted. --force deletes what another run starts from, what waits in a"
        " queue or is not on the server; nothing deletes a run that lives.",
    )
