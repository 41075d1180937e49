"""Checkpoints of the server's tasks, fetched into the artifacts folder, each once.

A task of torch-lab 2 becomes a run directory that holds what was fetched of it, and says so in its
record; a checkpoint of any other task lies where torch-lab 1.x kept those that it fetched. Who
fetches from a task holds its lock in `.fetching/TASK_ID/`; others wait, and find the file there.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch_lab.errors import RunLocked, StoreError
from torch_lab.mirror import finding
from torch_lab.mirror.fetcher import CLAIMED, Fetcher, publish
from torch_lab.mirror.finding import Task
from torch_lab.mirror.server import Server
from torch_lab.store import find
from torch_lab.store.failures import storing
from torch_lab.store.find import StoredRun
from torch_lab.store.lock import Heartbeat, Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record
from torch_lab.utils.files import write_atomic

WORK = ".fetching"  # in the artifacts folder
_PAUSE = 0.2  # seconds between two looks at a lock


# -- the questions --------------------------------------------------------------------------------


def find_checkpoint(
    readings: list[tuple[str, str | None]], name: str, artifacts: str | None
) -> dict[str, Any]:
    """Where the checkpoint is that a text names: in a run that is here, or of a task."""
    server = Server.connect()
    found = finding.find(server, readings)
    if found is None:
        return {"server": server.host, "found": False}
    task, checkpoint = found
    asked = checkpoint is not None or name != "last"  # which is what hparams say by themselves
    name = (checkpoint or name).removesuffix(finding.SUFFIX)
    answer = {"server": server.host, "found": True, "name": name}
    local = run_of(task, Path(artifacts)) if artifacts else None
    if local is not None:
        return {**answer, "run": str(local.directory.path)}
    model = finding.chosen(server, task, name, asked=asked)
    return {**answer, "task_id": task.id, "title": task.title, "size": model.size}


def fetch(
    task_id: str, name: str, artifacts: str, lost_after: float, seconds: float
) -> dict[str, Any]:
    """A checkpoint of a task, in a file; downloaded unless somebody has by now."""
    server = Server.connect()
    task = finding.with_id(server, task_id)
    with work(Path(artifacts), task, lost_after, seconds) as folder:
        model = finding.chosen(server, task, name)
        fetcher = Fetcher(server, task, folder)
        local = run_of(task, Path(artifacts))
        if local is not None:
            return _answer(fetcher.into(local, model), task, local.directory)
        if task.run_id is None:
            return _answer(fetcher.as_of_old(Path(artifacts), model), task, None)
        with claimed(Path(artifacts), task, fetcher.record()) as directory:
            path, entry = fetcher.checkpoint(directory, (), model)
            publish(directory, replace(fetcher.record(), checkpoints=(entry,)))
        return _answer(path, task, directory)


def _answer(path: Path, task: Task, directory: RunDirectory | None) -> dict[str, Any]:
    run = str(directory.path) if directory else None
    return {"path": str(path), "run": run, "task_id": task.id, "task": task.name}


# -- where things go ------------------------------------------------------------------------------


@contextlib.contextmanager
def work(artifacts: Path, task: Task, lost_after: float, seconds: float) -> Iterator[Path]:
    """A folder for what is under way of a task, this process's alone inside the block."""
    folder = RunDirectory(artifacts / WORK / task.id)
    lock = _acquired(folder, lost_after, time.monotonic() + seconds)
    beats = Heartbeat(folder, lock.check)
    beats.start()
    try:
        _clear(folder)  # whoever held it before may have been killed
        yield folder.path
    finally:
        beats.stop()
        _clear(folder)
        lock.release()
        with contextlib.suppress(OSError):  # somebody else waits for it
            folder.heartbeat.unlink()
            folder.path.rmdir()


def _acquired(folder: RunDirectory, lost_after: float, end: float) -> Lock:
    while True:
        with storing("create", folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
        try:
            return Lock.acquire(folder, lost_after=lost_after)
        except RunLocked:
            if time.monotonic() > end:
                raise
        except StoreError:
            if folder.path.exists() or time.monotonic() > end:
                raise  # else whoever had finished has just taken the folder away
        time.sleep(_PAUSE)


def _clear(folder: RunDirectory) -> None:
    for path in folder.path.iterdir():
        if not path.name.startswith("lock") and path != folder.heartbeat:
            path.unlink(missing_ok=True)


def run_of(task: Task, artifacts: Path) -> StoredRun | None:
    """The run that is here of what a task mirrors."""
    known = [run for run in find.runs(artifacts) if run.status != find.DAMAGED]
    same = [run for run in known if task.run_id and run.brief.id == task.run_id]
    return next(iter(same), None) or find.of_task(task.id, known)


@contextlib.contextmanager
def claimed(artifacts: Path, task: Task, record: Record) -> Iterator[RunDirectory]:
    """A directory for a run that is fetched, which counts as one when it has a run.json.

    It has the run's name; where another run has that too, the id's first digits behind it. What
    was fetched when the block fails is kept for the next time.
    """
    directory = _claim(artifacts, task, record)
    try:
        yield directory
    finally:
        if [path.name for path in directory.path.iterdir()] == [CLAIMED]:
            (directory.path / CLAIMED).unlink()
            directory.path.rmdir()


def _claim(artifacts: Path, task: Task, record: Record) -> RunDirectory:
    for name in (record.name, f"{record.name}-{record.id[:8]}", f"{record.name}-{record.id}"):
        directory = RunDirectory(artifacts / name)
        mark = directory.path / CLAIMED
        with storing("create the run directory", directory.path):
            try:
                directory.path.mkdir()
                write_atomic(mark, json.dumps({"task_id": task.id}).encode())
            except FileExistsError:
                if not _claimed_for(mark, task):
                    continue
        return directory
    raise StoreError(f"{artifacts} has other runs in every place for {record.name}")


def _claimed_for(mark: Path, task: Task) -> bool:
    try:
        return bool(json.loads(mark.read_bytes())["task_id"] == task.id)
    except (OSError, ValueError, KeyError, TypeError):
        return False
