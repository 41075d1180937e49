"""A clone made: its files written beside the source under a hidden name, then renamed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch_lab.errors import UsageError
from torch_lab.experiment import origin
from torch_lab.experiment.origin import ORIGIN, Origin, OriginRun
from torch_lab.store.source import read_members
from torch_lab.store.source_masks import masked_source
from torch_lab.tasks.clone.files import Files, files_of
from torch_lab.tasks.clone.naming import next_name, title_name
from torch_lab.tasks.clone.references import Move
from torch_lab.tasks.clone.rewriting import Line, rewrite
from torch_lab.tasks.clone.source import Source, experiment, recorded
from torch_lab.utils.folders import making, new_folder
from torch_lab.utils.scripts import import_root

_PREFIX = ".clone-"


@dataclass(frozen=True)
class Clone:
    """A new experiment and how it came to be."""

    source: Source
    directory: Path
    title: str
    files: Files
    changed: tuple[Line, ...]
    left: tuple[Line, ...]
    masked: tuple[str, ...] = ()
    different: tuple[str, ...] = ()


def clone(word: str | None, title: str, run: str | None = None, *, trust: bool = False) -> Clone:
    """The next experiment: from the one that `word` names, or from the code of a run of it."""
    name = title_name(title)
    named = None if word is None else experiment(word)
    if run is None:
        assert named is not None
        return _made(named, title, name)
    with recorded(run, trust=trust) as source:
        if named is not None and named.name != source.name:
            raise UsageError(
                f"--from {run} is a run of {source.name}, not of {named.name}",
                hint=f"leave the experiment out: `lab clone --from {run} {name}`",
            )
        return _made(source, title, name)


def _made(source: Source, title: str, name: str) -> Clone:
    files = files_of(source)
    parent = source.directory.parent
    with making(parent):
        parent.mkdir(parents=True, exist_ok=True)
        with _alone(parent), new_folder(parent, _PREFIX) as folder:
            directory = parent / next_name(name, parent, source.root)
            with making(directory):
                lines = _write(source, files, directory, folder)
                folder.rename(directory)
    changed = tuple(line for each in lines for line in each[0])
    left = tuple(line for each in lines for line in each[1])
    masked, different = tuple(source.masked()), tuple(_different(source))
    return Clone(source, directory, title, files, changed, left, masked, different)


@contextlib.contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Clone one at a time here, so that no two get the same number; remove what a kill left.

    The lock is the folder's own and goes with the process. On a network file system that knows
    none for folders, nothing keeps two that start at the same instant apart.
    """
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in parent.glob(f"{_PREFIX}*.tmp"):
                shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _write(
    source: Source, files: Files, directory: Path, folder: Path
) -> list[tuple[tuple[Line, ...], tuple[Line, ...]]]:
    """Fill the folder that is to be `directory`; the lines of each file that changed, and those
    that name the source yet."""
    move = _move(source, files, directory.name)
    lines = []
    for name in files.copied:
        path, target = source.files / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(_link(path, name, move))
            continue
        data = path.read_bytes()
        rewritten = rewrite(name, data, move)
        target.write_bytes(rewritten.data)
        (shutil.copystat if rewritten.data == data else shutil.copymode)(path, target)
        lines.append((rewritten.changed, rewritten.left))
    (folder / ORIGIN).write_bytes(origin.content(_origin(source)))
    return lines


def _move(source: Source, files: Files, new: str) -> Move:
    parts = source.directory.relative_to(_import_root(source)).parts
    dotted = ".".join(parts) if len(parts) > 1 else None
    return Move(source.directory, source.root, dotted, new, frozenset(files.copied))


def _import_root(source: Source) -> Path:
    """Of a run's code: the project's, even where the experiment is gone."""
    return import_root(source.directory / "__main__.py")


def _link(path: Path, name: str, move: Move) -> str:
    """What a link in the clone leads to: if into the source, then into the clone."""
    target = str(path.readlink())
    at = (move.directory / name).parent
    leads_to = Path(os.path.normpath(at / target))
    if leads_to.is_relative_to(move.directory):
        return os.path.relpath(leads_to, at)
    return target


def _origin(source: Source) -> Origin:
    run = source.run
    recorded_in = None if run is None else OriginRun(run.record.id, run.record.name)
    return Origin(source.name, source.path, round(time.time(), 3), recorded_in, source.commit)


def _different(source: Source) -> Iterator[str]:
    """The run's Python files, experiments aside, that the project hasn't, or not as they were."""
    if source.run is None:
        return
    members = read_members(source.run.directory.source_bundle)
    homes = {PurePosixPath(name).parent for name in members if name.endswith("/__main__.py")}
    own = PurePosixPath(source.path)
    experiments = [home for home in homes if home == own or not own.is_relative_to(home)]
    for name, data in members.items():
        path = PurePosixPath(name)
        if path.suffix == ".py" and not any(path.is_relative_to(each) for each in experiments):
            now = _masked(name, source.root / name)
            if now != data:
                yield f"{name} ({'missing' if now is None else 'changed'})"


def _masked(name: str, path: Path) -> bytes | None:
    try:
        return masked_source(name, path.read_bytes())[0]
    except OSError:
        return None
