"""The runs of an artifacts folder, and the one that a word names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch_lab.errors import RunNotFound, StoreError
from torch_lab.store import record as records
from torch_lab.store.failures import store_error
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import LOST_AFTER, Record
from torch_lab.store.secrets import mask_text

DAMAGED = "damaged"
INTERRUPTED = frozenset({"aborted", "failed", "lost", "incomplete"})
_SHOWN = 8
_TASK_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class StoredRun:
    """A run as found on disk; one whose run.json can't be read has the status "damaged".

    `where` it is: "local", "server" (there is no such directory) or "both". `project`: that of its
    ClearML task, where the server was asked.
    """

    directory: RunDirectory
    record: Record
    status: str
    where: str = "local"
    project: str | None = None


def runs(artifacts: Path, *, lost_after: float = LOST_AFTER) -> list[StoredRun]:
    """All runs, newest first; directories that hold no run.json (yet) are none."""
    found = (_stored(path, lost_after) for path in _directories(artifacts))
    return sorted((run for run in found if run), key=_age, reverse=True)


def resolve(
    text: str,
    artifacts: Path,
    *,
    cwd: Path | None = None,
    lost_after: float = LOST_AFTER,
) -> tuple[StoredRun, str | None]:
    """The run, and the checkpoint's name if there is one, that RUN[:NAME] names.

    RUN: a run directory, a run's name or id or an unambiguous prefix of one, EXPERIMENT/SCRIPT for
    that script's newest run, the id of its ClearML task, or PROJECT/NAME. RunNotFound says what
    there is instead; it is `unknown` where nothing here goes by that name.
    """
    for name, checkpoint in readings(text):
        run = _at_path(name, artifacts, cwd or Path.cwd(), lost_after)
        if run is not None:
            return _sound(run), checkpoint
    known = runs(artifacts, lost_after=lost_after)
    for look in (_named, of_task, _in_project):
        for name, checkpoint in readings(text):
            run = look(name, known)
            if run is not None:
                return _sound(run), checkpoint
    raise _not_found(readings(text)[-1][0], known, artifacts)


def readings(text: str) -> list[tuple[str, str | None]]:
    """The text as a whole, then as RUN:NAME: a name that exists as given wins."""
    run, colon, checkpoint = text.rpartition(":")
    return [(text, None), (run, checkpoint)] if colon and run and checkpoint else [(text, None)]


def of_task(task_id: str, known: Sequence[StoredRun]) -> StoredRun | None:
    """The run that a ClearML task mirrors, or that was fetched from it."""
    if not _TASK_ID.fullmatch(task_id.lower()):
        return None
    return next((run for run in known if task_of(run) == task_id.lower()), None)


def task_of(run: StoredRun) -> str | None:
    """The id of a run's ClearML task, where it is known."""
    fetched = run.record.fetched
    if fetched is not None:
        return str(fetched.get("task_id"))
    try:
        content = json.loads(run.directory.mirror_file.read_bytes())
    except (OSError, ValueError):
        return None
    found = content.get("task_id") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def project_of(record: Record) -> str | None:
    """The ClearML project that a run's hyperparameters name."""
    task = record.hparams.get("task")
    return task.get("project_name") if isinstance(task, dict) else None


def newest_interrupted(
    artifacts: Path,
    prefix: str,
    *,
    overrides: Sequence[str] | None = (),
    lost_after: float = LOST_AFTER,
) -> StoredRun | None:
    """The newest run PREFIX_vN that ended but not as planned, begun with just these overrides.

    With `overrides` None, whatever it was begun with.
    """
    begun_with = tuple(mask_text(text) for text in overrides or ())
    pattern = re.compile(re.escape(prefix) + r"_v\d+", re.ASCII)
    paths = [path for path in _directories(artifacts) if pattern.fullmatch(path.name)]
    found = [run for path in paths if (run := _stored(path, lost_after))]
    interrupted = [r for r in found if r.status in INTERRUPTED and r.record.fetched is None]
    alike = [r for r in interrupted if overrides is None or r.record.overrides == begun_with]
    return max(alike, key=_age, default=None)


def _directories(artifacts: Path) -> Iterator[Path]:
    try:
        yield from (path for path in artifacts.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        raise store_error("list", artifacts, error) from error


def _stored(path: Path, lost_after: float) -> StoredRun | None:
    directory = RunDirectory(path)
    try:
        record = records.read(directory)
    except StoreError as error:
        if not os.path.isfile(directory.record_file):  # noqa: PTH113  Path.is_file can raise
            return None
        record = Record(path.name, "", DAMAGED, reason=error.message, created=_modified(path))
        return StoredRun(directory, record, DAMAGED)
    return StoredRun(directory, record, records.status(directory, record, lost_after))


def _sound(run: StoredRun) -> StoredRun:
    """The run that was asked for by name: what is wrong with its record is an error now."""
    if run.status == DAMAGED:
        records.read(run.directory)
    return run


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _age(run: StoredRun) -> tuple[float, int, str]:
    number = run.directory.name.rpartition("_v")[2]
    return run.record.created, int(number) if number.isdecimal() else -1, run.directory.name


def _at_path(text: str, artifacts: Path, cwd: Path, lost_after: float) -> StoredRun | None:
    if not text:
        return None
    for path in (cwd / text, artifacts / text):
        # A file system refuses names that are too long or hold a zero byte.
        try:
            run = _stored(path.resolve(), lost_after)
        except (OSError, ValueError, RuntimeError):
            continue
        if run is not None:
            return run
    return None


def _named(text: str, known: Sequence[StoredRun]) -> StoredRun | None:
    if "/" in text:
        return _newest_of_script(text, known)
    if not text:
        return None
    exact = [run for run in known if text in (run.record.name, run.record.id)]
    if len(exact) == 1:
        return exact[0]
    matches = exact or [
        run
        for run in known
        if run.directory.name.startswith(text) or run.record.id.startswith(text.lower())
    ]
    if len(matches) > 1:
        raise _ambiguous(text, matches)
    return matches[0] if matches else None


def _newest_of_script(text: str, known: Sequence[StoredRun]) -> StoredRun | None:
    wanted = PurePosixPath(text.removesuffix(".py")).parts[-2:]
    of_script = [run for run in known if _script(run) == wanted]
    counted = [run for run in of_script if run.record.dev_run is None]
    if of_script and not counted:
        raise RunNotFound(
            f"{text} has only dev runs: {_listed(of_script)}", hint="Name one of them in full."
        )
    return counted[0] if counted else None


def _script(run: StoredRun) -> tuple[str, str]:
    return run.record.experiment, PurePosixPath(run.record.script).stem


def _in_project(text: str, known: Sequence[StoredRun]) -> StoredRun | None:
    """The run that PROJECT/NAME names, whose project may have slashes itself."""
    project, slash, name = text.rpartition("/")
    found = [run for run in known if slash and run.record.name == name]
    found = [run for run in found if project_of(run.record) == project]
    if len(found) > 1:
        raise _ambiguous(text, found)
    return found[0] if found else None


def _ambiguous(text: str, matches: Sequence[StoredRun]) -> RunNotFound:
    hint = "Type more of the name or id."
    scripts = {_script(run) for run in matches}
    if len(scripts) == 1 and matches[0].record.experiment:
        hint = f"Type more of it, or {'/'.join(_script(matches[0]))} for the newest."
    return RunNotFound(f'"{text}" names {len(matches)} runs: {_listed(matches)}', hint=hint)


def _not_found(text: str, known: Sequence[StoredRun], artifacts: Path) -> RunNotFound:
    error = RunNotFound(f'no run "{text}" in {artifacts}', hint=_instead(text, known))
    error.unknown = True
    return error


def _instead(text: str, known: Sequence[StoredRun]) -> str:
    if not known:
        return "There are no runs there yet: `train HPARAMS` makes one."
    from difflib import get_close_matches  # slow to import, and needed only here

    names = {name: name for run in known for name in (run.directory.name, "/".join(_script(run)))}
    close = get_close_matches(text.removesuffix(".py"), names, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"The newest: {_listed(known)}"


def _listed(matches: Sequence[StoredRun]) -> str:
    shown = [
        f"{run.directory.name} ({run.record.id[:8] or run.status})" for run in matches[:_SHOWN]
    ]
    more = len(matches) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
