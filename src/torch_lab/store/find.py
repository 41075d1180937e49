"""The runs of an artifacts folder, and the one that a word names."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from torch_lab.errors import RunNotFound, StoreError
from torch_lab.store import record as records
from torch_lab.store.failures import store_error
from torch_lab.store.index import Index, Key
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import LOST_AFTER, Record
from torch_lab.store.stored import DAMAGED as DAMAGED
from torch_lab.store.stored import StoredRun as StoredRun
from torch_lab.store.stored import damaged

INTERRUPTED = frozenset({"aborted", "failed", "lost", "incomplete"})
_SHOWN = 8
_FAR = 0.0003  # seconds to open a file: a server is asked
_MANY, _TRIED, _WAITING, _PART = 100, 10, 16, 20  # runs; files tried; threads; files of each
_TASK_ID = re.compile(r"[0-9a-f]{32}")


def runs(artifacts: Path, *, lost_after: float = LOST_AFTER) -> list[StoredRun]:
    """All runs, newest first; directories that hold no run.json (yet) are none."""
    names = _names(artifacts)
    if not names:
        return []
    index, place = Index(artifacts), str(artifacts)

    def look(name: str) -> StoredRun | None:
        return _listed_run(place, name, index, lost_after)

    found = _at_once(look, names) if _is_far(place, names) else map(look, names)
    listed = sorted((run for run in found if run), key=_age, reverse=True)
    index.save()
    return listed


def holds_runs(folder: Path) -> bool:
    """Whether there is any run in a folder."""
    return any(os.path.lexists(folder / name / "run.json") for name in _names(folder))


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
    if run.brief.fetched:
        return run.brief.task
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
    from torch_lab.store.secrets import mask_text  # listings do without

    begun_with = tuple(mask_text(text) for text in overrides or ())
    pattern = re.compile(re.escape(prefix) + r"_v\d+", re.ASCII)
    names = [name for name in _names(artifacts) if pattern.fullmatch(name)]
    found = [run for name in names if (run := _stored(artifacts / name, lost_after))]
    interrupted = [r for r in found if r.status in INTERRUPTED and r.record.fetched is None]
    alike = [r for r in interrupted if overrides is None or r.record.overrides == begun_with]
    return max(alike, key=_age, default=None)


def _names(artifacts: Path) -> list[str]:
    try:
        return [name for name in os.listdir(artifacts) if not name.startswith(".")]  # noqa: PTH208
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error("list", artifacts, error) from error


def _is_far(artifacts: str, names: Sequence[str]) -> bool:
    """Whether it takes so long to open a file that waiting for several at once pays."""
    if len(names) < _MANY:
        return False
    begun = time.perf_counter()
    for name in names[:_TRIED]:
        with contextlib.suppress(OSError):
            os.close(os.open(f"{artifacts}/{name}/run.json", os.O_RDONLY))
    return time.perf_counter() - begun > _TRIED * _FAR


def _at_once(
    look: Callable[[str], StoredRun | None], names: Sequence[str]
) -> list[StoredRun | None]:
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    parts = [names[start : start + _PART] for start in range(0, len(names), _PART)]
    with ThreadPoolExecutor(_WAITING) as pool:
        found = pool.map(lambda part: [look(name) for name in part], parts)
        return [run for part in found for run in part]


def _listed_run(artifacts: str, name: str, index: Index, lost_after: float) -> StoredRun | None:
    """The run from the index where run.json is what it was, else from that.

    It is opened, because a network file system may answer a bare look from a minute-old cache.
    """
    path = f"{artifacts}/{name}"
    try:
        descriptor = os.open(f"{path}/run.json", os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return _stored(Path(path), lost_after)
    try:
        key = Key.of(os.fstat(descriptor))
        if known := index.get(name, key):
            return StoredRun.known(path, known)
        content = _content(descriptor, key.size)
    except OSError:
        return _stored(Path(path), lost_after)
    finally:
        os.close(descriptor)
    directory = RunDirectory(Path(path))
    run = _judged(directory, lambda: records.parse(directory, content), lost_after)
    if run is not None and run.status != DAMAGED:
        index.learn(name, key, run)
    return run


def _content(descriptor: int, size: int) -> bytes:
    parts = []
    while part := os.read(descriptor, size + 1):
        parts.append(part)
    return b"".join(parts)


def _stored(path: Path, lost_after: float) -> StoredRun | None:
    directory = RunDirectory(path)
    return _judged(directory, lambda: records.read(directory), lost_after)


def _judged(
    directory: RunDirectory, read: Callable[[], Record], lost_after: float
) -> StoredRun | None:
    try:
        record = read()
        return StoredRun(directory, record, records.status(directory, record, lost_after))
    except StoreError as error:
        if not os.path.isfile(directory.record_file):  # noqa: PTH113  Path.is_file can raise
            return None
        return StoredRun(directory, damaged(directory, "", error), DAMAGED)


def _sound(run: StoredRun) -> StoredRun:
    """The run that was asked for by name: what is wrong with its record is an error now."""
    if run.status == DAMAGED:
        records.read(run.directory)
    return run


def _age(run: StoredRun) -> tuple[float, int, str]:
    name = run.folder
    number = name.rpartition("_v")[2]
    return run.brief.created, int(number) if number.isdecimal() else -1, name


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
    exact = [run for run in known if text in (run.brief.name, run.brief.id)]
    if len(exact) == 1:
        return exact[0]
    matches = exact or [
        run for run in known if run.folder.startswith(text) or run.brief.id.startswith(text.lower())
    ]
    if len(matches) > 1:
        raise _ambiguous(text, matches)
    return matches[0] if matches else None


def _newest_of_script(text: str, known: Sequence[StoredRun]) -> StoredRun | None:
    wanted = PurePosixPath(text.removesuffix(".py")).parts[-2:]
    of_script = [run for run in known if _script(run) == wanted]
    counted = [run for run in of_script if run.brief.dev_run is None]
    if of_script and not counted:
        raise RunNotFound(
            f"{text} has only dev runs: {_listed(of_script)}", hint="Name one of them in full."
        )
    return counted[0] if counted else None


def _script(run: StoredRun) -> tuple[str, str]:
    return run.brief.experiment, PurePosixPath(run.brief.script).stem


def _in_project(text: str, known: Sequence[StoredRun]) -> StoredRun | None:
    """The run that PROJECT/NAME names, whose project may have slashes itself."""
    project, slash, name = text.rpartition("/")
    found = [run for run in known if slash and run.brief.name == name]
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

    names = {name: name for run in known for name in (run.folder, "/".join(_script(run)))}
    word = text.removesuffix(".py")
    begun = [name for name in names if "/" in word and name.startswith(word)]
    if close := begun[:3] or get_close_matches(word, names, n=3, cutoff=0.6):
        return f"Did you mean {' or '.join(close)}?"
    return f"The newest: {_listed(known)}"


def _listed(matches: Sequence[StoredRun]) -> str:
    shown = [f"{run.folder} ({run.brief.id[:8] or run.status})" for run in matches[:_SHOWN]]
    more = len(matches) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
