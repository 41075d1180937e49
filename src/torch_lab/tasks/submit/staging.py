"""A run's directory as Slurm is to find it: its record, its code as it is now."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from torch_lab.errors import StoreError
from torch_lab.store import claim, environment, source
from torch_lab.store.find import StoredRun
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED, Record, RecordWriter
from torch_lab.store.slurm import SCHEDULER
from torch_lab.tasks import mirroring
from torch_lab.tasks.pinning import pinned
from torch_lab.tasks.plan import Plan, new_record, run_prefix, say
from torch_lab.tasks.submit.layout import Layout


@dataclass(frozen=True)
class Staged:
    """A run that is ready for Slurm; `new` ones exist only for it."""

    directory: RunDirectory
    record: Record
    root: Path
    new: bool

    @property
    def place(self) -> RunDirectory:
        """The directory by its path from the root of the file system, as a job finds it."""
        return RunDirectory(self.directory.path.absolute())


def staged(ready: Plan, layout: Layout) -> Staged:
    """A new run: claimed, recorded as queued, its code unpacked beside its record."""
    hparams, parent = pinned(ready, same_files=True)
    ready = replace(ready, hparams=hparams)
    floor = mirroring.servers_floor(ready)
    prefix = run_prefix(ready.experiment, ready.options.dev_run)
    directory = claim.claim(ready.settings.artifacts, prefix, floor=floor)
    try:
        record = replace(
            new_record(ready, hparams.seed, parent),
            name=directory.name,
            id=claim.new_id(),
            created=round(time.time(), 3),
            slurm=None,  # that of a job in which this is typed is another one
            queued={"scheduler": SCHEDULER, "options": dict(layout.options)},
        )
        with _books(ready, directory, record) as writer:
            root = ready.experiment.root
            environment.write_git(directory, root)
            source.bundle(ready.experiment.directory, root, directory.source_bundle)
            _unpack(directory, root)
            record = writer.update(status=QUEUED)
    except BaseException:  # Ctrl-C too; raised again
        claim.discard(directory)
        raise
    _remark_on_secrets(record, directory)
    return Staged(directory, record, ready.experiment.root, new=True)


def staged_again(ready: Plan, run: StoredRun) -> Staged:
    """An interrupted run: it goes on with the code that it began with."""
    root = ready.experiment.root
    try:
        _unpack(run.directory, root)
    except FileNotFoundError as error:
        raise StoreError(
            f"run {run.record.name} has no code: {run.directory.source_bundle} is missing",
            hint="`train --resume` goes on with the project's present code.",
        ) from error
    return Staged(run.directory, run.record, root, new=False)


def _unpack(directory: RunDirectory, root: Path) -> None:
    settings = root / "pyproject.toml"
    content = settings.read_bytes() if settings.is_file() else b""
    source.stage(directory.source_bundle, directory.code, root, content)


@contextmanager
def _books(ready: Plan, directory: RunDirectory, record: Record) -> Iterator[RecordWriter]:
    lost_after = ready.settings.lost_after
    lock = Lock.acquire(directory, lost_after=lost_after)
    try:
        with lock.beating(lost_after):
            writer = RecordWriter(directory, lock, record)
            writer.update()
            yield writer
    finally:
        lock.release()


def _remark_on_secrets(record: Record, directory: RunDirectory) -> None:
    """Say which secrets the job will look for in its environment: recorded code has none."""
    with suppress(OSError, ValueError, KeyError, IndexError):
        manifest = json.loads((directory.code / source.MANIFEST).read_bytes())
        places = [f"{each['path']}:{each['lines'][0]}" for each in manifest["masked"]]
        if places:
            say(
                f"secrets in the code of {record.name} are masked: {', '.join(places)};"
                " let it read them from the environment"
            )
