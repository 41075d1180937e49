"""From the words that name a checkpoint to a verified file."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch_lab.checkpoints import files, remote
from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    RunNotFound,
    ServerError,
)
from torch_lab.store import find
from torch_lab.store import record as records
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import CRASH, UNFINISHED, CheckpointEntry, Parent

SUFFIX = ".ckpt"
_TASK_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Found:
    """A checkpoint that was verified, and the run it belongs to where one is known."""

    path: Path
    name: str
    run: StoredRun | None = None
    task: Parent | None = None  # where it is of torch-lab 1.x

    @property
    def parent(self) -> Parent | None:
        """The link that a run started from here keeps."""
        if self.run is None:
            return self.task
        return Parent(self.run.record.id, self.run.record.name, self.path.stem)


def resolve(
    text: str,
    name: str,
    artifacts: Path,
    *,
    cwd: Path,
    say: Callable[[str], None],
    server: bool = False,
) -> Found:
    """The checkpoint of `RUN`, `RUN:NAME` or a file; `name` is taken where the text has none.

    With `server`, what isn't here is fetched from the ClearML server: of a run that it has (by
    name, PROJECT/NAME or task id), and of one here that has lost it. A damaged checkpoint of a run
    is named through `say`, and the newest sound one before it is taken; a damaged file that was
    asked for as such is an error.
    """
    if text.startswith("~"):  # hparams come by no shell
        text = os.path.expanduser(text)  # noqa: PTH111  Path's raises for the home of nobody
    file = _file(text, cwd)
    if file is not None:
        return _of_file(file, artifacts)
    try:
        run, chosen = find.resolve(text, artifacts, cwd=cwd)
    except RunNotFound as error:
        if not error.unknown:
            raise
        unknown = error
    else:
        return of_run(run, chosen or name, say=say, server=server)
    try:
        found = _of_task(text, name, artifacts)
    except (CheckpointNotFound, CheckpointDamaged) as error:  # the server may have it
        return _elsewhere(error, text, name, artifacts, say if server else None)
    return found or _elsewhere(unknown, text, name, artifacts, say if server else None)


def _elsewhere(
    error: RunNotFound | CheckpointError,
    text: str,
    name: str,
    artifacts: Path,
    say: Callable[[str], None] | None,
) -> Found:
    """The checkpoint of what the server knows by this name; `error` where nobody can be asked."""
    if say is None:
        raise error
    place = remote.look(text, name, artifacts, error)
    if place.run is not None:
        return of_run(_stored(place.run, artifacts), place.name, say=say, server=True)
    return _fetched(remote.fetch(place, artifacts, say), place.name, artifacts)


def _fetched(got: remote.Got, name: str, artifacts: Path) -> Found:
    run = _stored(got.run, artifacts) if got.run is not None else None
    files.verify(got.path)  # by this process too, which uses it
    task = None if run is not None else Parent(got.task_id, got.task, name)
    return Found(got.path, name, run, task)


def _stored(directory: Path, artifacts: Path) -> StoredRun:
    return find.resolve(str(directory), artifacts)[0]


def _of_task(text: str, name: str, artifacts: Path) -> Found | None:
    """A checkpoint of a ClearML task that torch-lab 1.x trained here, in a folder NAME-ID."""
    task, _, chosen = text.partition(":")
    folders = sorted(artifacts.glob(f"*-{task}")) if _TASK_ID.fullmatch(task) else []
    if not folders:
        return None
    name = (chosen or name).removesuffix(SUFFIX)
    # Those it had fetched lie one level deeper than those it had saved.
    paths = [p for each in folders for p in sorted(each.rglob(f"{glob.escape(name)}{SUFFIX}"))]
    if not paths:
        there = sorted({path.stem for each in folders for path in each.rglob(f"*{SUFFIX}")})
        has = f"it has {', '.join(there)}" if there else "it has none"
        raise CheckpointNotFound(f"task {task} has no checkpoint {name!r} in {folders[0]}: {has}")
    files.verify(paths[0])
    title = paths[0].relative_to(artifacts).parts[0].removesuffix(f"-{task}")
    return Found(paths[0], name, task=Parent(task, title, name))


def _file(text: str, cwd: Path) -> Path | None:
    """The file that the text names; EXPERIMENT/SCRIPT.py and RUN:NAME.ckpt name none."""
    try:
        path = cwd / text
        is_file = path.is_file()
    except (OSError, ValueError):  # too long, a zero byte
        return None
    if is_file and path.suffix != ".py":
        return path
    return path if text.endswith(SUFFIX) and ":" not in text else None


def _of_file(file: Path, artifacts: Path) -> Found:
    """The file, and the run in whose checkpoints folder it lies."""
    run = _owner(file, artifacts)
    listed = run.record.checkpoints if run else ()
    written = f"{file.parent.name}/{file.name}"
    known = next((entry.sha256 for entry in listed if entry.file == written), None)
    try:
        files.verify(file, known)
    except CheckpointNotFound as error:
        there = ", ".join(sorted(path.name for path in file.parent.glob(f"*{SUFFIX}")))
        error.hint = f"{file.parent} has {there}" if there else None
        raise
    return Found(file, file.stem, run)


def _owner(file: Path, artifacts: Path) -> StoredRun | None:
    directory = RunDirectory(file.absolute().parent.parent)
    if file.absolute().parent != directory.checkpoints or not directory.record_file.is_file():
        return None
    return find.resolve(str(directory.path), artifacts)[0]


def of_run(run: StoredRun, name: str, *, say: Callable[[str], None], server: bool = False) -> Found:
    """The checkpoint `name` of a run, or the newest sound one before it.

    With `server`, one that isn't here, or is damaged, is fetched from there before older ones are
    looked at.
    """
    name = name.removesuffix(SUFFIX)
    task = find.task_of(run) if server else None
    try:
        candidates = _candidates(run, name)
    except CheckpointNotFound as error:
        if task is None:
            raise
        return _restored(run, task, name, error, say)
    for entry in candidates:
        path = run.directory.path / entry.file
        try:
            files.verify(path, entry.sha256)
            _tell_age(run, entry, say)
            return Found(path, name, run)
        except (CheckpointDamaged, CheckpointNotFound) as error:
            if (by_now := _gone_on(run)) is not None:
                return of_run(by_now, name, say=say, server=server)
            why = error.message
            if task is not None and entry is candidates[0]:
                found = _instead(run, task, name, error, say)
                if isinstance(found, Found):
                    return found
                why = found
            if entry.kind == CRASH:
                raise
            say(f"{why}; trying the one before it")
    raise CheckpointDamaged(f"run {run.record.name} has no sound checkpoint {name!r} or before it")


def _gone_on(run: StoredRun) -> StoredRun | None:
    """A run under way as it is by now, if it has saved and deleted since it was read."""
    if run.status not in UNFINISHED:
        return None
    record = records.read(run.directory)
    known, saved = ([each.file for each in r.checkpoints] for r in (run.record, record))
    return None if known == saved else run.changed(record=record)


def _tell_age(run: StoredRun, entry: CheckpointEntry, say: Callable[[str], None]) -> None:
    """Say which state is used of a run that may have gone on since it was fetched."""
    name = run.record.name
    if run.record.fetched is not None and run.record.status in UNFINISHED:
        state = f" (epoch {entry.epoch}, batch {entry.batch})" if entry.batch >= 0 else ""
        say(
            f"{entry.name}{state} of run {name}, which was fetched while it was still training;"
            f" `lab pull {name}` brings what there is now"
        )


def _instead(
    run: StoredRun, task: str, name: str, error: CheckpointError, say: Callable[[str], None]
) -> Found | str:
    """What the server has in place of a damaged file, or why it has nothing."""
    say(f"{error.message}; asking the ClearML server for it")
    try:
        return _restored(run, task, name, error, say)
    except (CheckpointError, RunNotFound, ServerError) as missing:
        return missing.message


def _restored(
    run: StoredRun, task: str, name: str, error: CheckpointError, say: Callable[[str], None]
) -> Found:
    """A checkpoint of a run that is here, from the task that mirrors it."""
    artifacts = run.directory.path.parent
    place = remote.look(task, name, artifacts, error, local=False)
    return _fetched(remote.fetch(place, artifacts, say), name, artifacts)


def _candidates(run: StoredRun, name: str) -> list[CheckpointEntry]:
    """The entry called `name`, then those saved before it, newest first."""
    listed = run.record.checkpoints
    chosen = next((entry for entry in listed if entry.name == name), None) or _unlisted(run, name)
    if chosen is None:
        raise CheckpointNotFound(_missing(run, name))
    if chosen.kind == CRASH:  # nothing else stands for it, nor it for anything else
        return [chosen]
    before = {e.file: e for e in listed if e.batch < chosen.batch and e.kind != CRASH}
    return [chosen, *sorted(before.values(), key=lambda entry: -entry.batch)]


def _unlisted(run: StoredRun, name: str) -> CheckpointEntry | None:
    """A file that one of the experiment's own callbacks wrote."""
    folder = run.directory.checkpoints
    path = folder / f"{name}{SUFFIX}"
    if path.parent != folder or not path.is_file():
        return None
    return CheckpointEntry(name, f"{folder.name}/{path.name}", "training", -1, 0, 0)


def _missing(run: StoredRun, name: str) -> str:
    folder = run.directory.checkpoints
    names = [entry.name for entry in run.record.checkpoints]
    names += sorted({path.stem for path in folder.glob(f"*{SUFFIX}")} - set(names))
    has = f"it has {', '.join(names)}" if names else "it has none"
    return f"run {run.record.name} has no checkpoint {name!r} in {folder}: {has}"
