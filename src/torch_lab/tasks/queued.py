"""A queued run where a ClearML agent runs it: an ordinary run, whose task is the queued one."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch_lab import settings as settings_
from torch_lab.errors import StoreError, UsageError
from torch_lab.mirror import state
from torch_lab.mirror.asking import ask
from torch_lab.mirror.hyperparams import from_hyperparams
from torch_lab.mirror.state import Mirror
from torch_lab.settings import Settings
from torch_lab.store import claim, find, source
from torch_lab.store.find import INTERRUPTED, StoredRun
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED, Record, RecordWriter, read
from torch_lab.store.secrets import MASK, mask
from torch_lab.store.values import encode
from torch_lab.tasks import train
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import recorded_plan, say
from torch_lab.tasks.table import flatten
from torch_lab.utils.files import write_atomic
from torch_lab.utils.paths import marked_root

FOLDER = "TORCH_LAB_PROJECT_FOLDER"  # where a project's data and runs are on an agent's machine
_HOMES = "~/.torch-lab"
_ORDER = 1500.0  # seconds for what is to be run, its code included
_ANSWER = 60.0  # seconds for a question
_SYNC_WAIT = "300"  # seconds, where the project says nothing
_ENDING = 60.0  # seconds beyond the grace period that an agent waits for a run that it aborts


@dataclass(frozen=True)
class Order:
    """What a task says that is to be run; its code lies in `folder`."""

    task: str
    order: Mapping[str, Any]
    record: Record
    folder: Path
    mirror: Mirror
    untouched: bool  # nothing was ever reported of it, or all of that was deleted since
    edited: Mapping[str, Any] = field(default_factory=dict)  # in the web page, by dotted keys

    @classmethod
    def of(cls, task: str, folder: Path) -> Order:
        """Ask the server for it."""
        answer = ask("order", timeout=_ORDER, task=task, folder=str(folder))
        order = answer["order"]
        place = RunDirectory(folder)
        write_atomic(place.record_file, json.dumps(order["record"]).encode())
        record = read(place)
        hparams = from_hyperparams(answer["hparams"], record.hparams)
        mirror = Mirror(
            answer["server"], task, answer["project"], answer["page"], status="in_progress"
        )
        edited = _edited(record.hparams, hparams)
        record = replace(record, hparams=hparams)
        return cls(task, order, record, folder, mirror, bool(answer["untouched"]), edited)

    @property
    def copied(self) -> bool:
        """Whether the task is a copy, made in the web page, of the one that was queued."""
        return bool(self.order["task"] != self.task)


def run() -> None:
    """Train what the task of this process says; returns when the run is completed."""
    if train.JOIN in os.environ:  # another rank of it
        train.train(TrainOptions())
        return
    task = os.environ.get("CLEARML_TASK_ID") or os.environ.get("TRAINS_TASK_ID")
    if not task:
        raise UsageError("CLEARML_TASK_ID is not set: only a ClearML agent runs a queued task")
    with tempfile.TemporaryDirectory(prefix="torch-lab-") as folder:
        stored, trust = _place(Order.of(task, Path(folder)))
    ask("begun", timeout=_ANSWER, run=str(stored.directory.path))
    # Paths that are relative mean the project, and other ranks are started by this script's name.
    sys.argv[0] = str(Path(sys.argv[0]).absolute())
    os.chdir(stored.directory.code)
    ready = recorded_plan(stored.directory, stored.record, TrainOptions(trust=trust))
    train.start(ready, stored)


def _place(order: Order) -> tuple[StoredRun, bool]:
    """The run's directory, complete but for what training writes; and whether --trust was given."""
    root, settings = _home(order)
    os.environ["TORCH_LAB_ARTIFACTS"] = str(settings.artifacts.absolute())
    if settings.sync_wait == Settings.sync_wait:
        # An agent's machine may be gone when the run is over, with what was not sent.
        os.environ["TORCH_LAB_SYNC_WAIT"] = _SYNC_WAIT
    stored = _known(order, settings)
    if stored is None:
        stored = _created(order, settings)
    _unpack(order, stored.directory, root)
    with _books(stored, settings) as writer:
        queued = {
            **(stored.record.queued or {}),
            "task": order.task,
            "page": order.mirror.page,
            "agent": os.environ.get("CLEARML_WORKER_ID") or "a ClearML agent",
            "patience": settings.grace_period + _ENDING,
        }
        changes: dict[str, Any] = {"queued": queued}
        if stored.status == QUEUED:
            changes["hparams"] = order.record.hparams
            queued["edited"] = dict(order.edited)
            state.write(stored.directory, order.mirror)
        elif order.untouched:
            state.write(stored.directory, order.mirror)  # the task was reset: all is sent again
        record = writer.update(**changes)
    return stored.changed(record=record), bool(order.order["trust"])


def _edited(queued: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What was given another value since the run was queued; secrets are masked."""
    before, masked = flatten(queued), flatten(mask(now))
    return {
        key: masked.get(key, MASK)
        for key, value in flatten(now).items()
        if key not in before or encode(before[key]) != encode(value)
    }


def _home(order: Order) -> tuple[Path, Settings]:
    """The project's folder on this machine, with its data and runs, and its settings.

    It is the project's own where that is seen from here, by the same path; else a folder that
    stands for it, which begins empty.
    """
    root, artifacts = Path(order.order["root"]), Path(order.order["artifacts"])
    if _is_seen(order, artifacts):
        return root, replace(settings_.load(root), artifacts=artifacts)
    home = Path(os.environ.get(FOLDER) or f"{_HOMES}/{root.name}").expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    if marked_root(home) != home:
        write_atomic(home / "pyproject.toml", order.order["pyproject"].encode())
    return home, settings_.load(home)


def _is_seen(order: Order, artifacts: Path) -> bool:
    """Whether the directory that was made where the run was queued is here."""
    try:
        there = read(RunDirectory(artifacts / order.record.name))
    except StoreError:
        return False
    return there.id == order.record.id


def _known(order: Order, settings: Settings) -> StoredRun | None:
    """The run of this task that is here, to be begun or gone on with.

    None where the task is to begin anew: it was completed, or has other hyperparameters by now.
    """
    runs = find.runs(settings.artifacts, lost_after=settings.lost_after)
    found = next((run for run in runs if run.facts.exactly("queued.task") == order.task), None)
    if found is None or found.status == QUEUED:
        return found
    if found.status not in INTERRUPTED and found.status != "completed":
        return found  # it lives, which its lock will say
    same = encode(found.record.hparams) == encode(order.record.hparams)
    return found if same and found.status in INTERRUPTED else None


def _created(order: Order, settings: Settings) -> StoredRun:
    """A new directory: by the name and id that the run was queued with, if it is not a copy."""
    record, artifacts = order.record, settings.artifacts
    again = order.copied or any(
        run.brief.id == record.id for run in find.runs(artifacts, lost_after=settings.lost_after)
    )
    directory = None if again else claim.take(artifacts, record.name)
    if again:
        record = replace(record, id=claim.new_id(), created=round(time.time(), 3))
    if directory is None:
        directory = claim.claim(artifacts, record.name.rpartition("_v")[0])
        say(f"{record.name} is another run here: this one is {directory.name}")
    record = replace(record, name=directory.name, status=QUEUED, reason=None)
    return StoredRun(directory, record, QUEUED)


def _unpack(order: Order, directory: RunDirectory, root: Path) -> None:
    """The code as it was queued, beside what else the project has here; once."""
    if not directory.source_bundle.exists():
        write_atomic(directory.source_bundle, RunDirectory(order.folder).source_bundle.read_bytes())
    if not directory.git_diff.exists():
        write_atomic(directory.git_diff, order.order["git"].encode())
    pyproject = order.order["pyproject"].encode()
    source.stage(directory.source_bundle, directory.code, root, pyproject)


@contextmanager
def _books(stored: StoredRun, settings: Settings) -> Iterator[RecordWriter]:
    lock = Lock.acquire(stored.directory, lost_after=settings.lost_after, on_wait=say)
    try:
        yield RecordWriter(stored.directory, lock, stored.record)
    finally:
        lock.release()
