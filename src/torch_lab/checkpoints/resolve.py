"""From the words that name a checkpoint to a verified file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch_lab.checkpoints import files
from torch_lab.errors import CheckpointDamaged, CheckpointNotFound
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.store.record import CheckpointEntry, Parent


@dataclass(frozen=True)
class Found:
    """A checkpoint that was verified, and the run it belongs to where one is known."""

    path: Path
    name: str
    run: StoredRun | None = None

    @property
    def parent(self) -> Parent | None:
        """The link that a run started from here keeps."""
        if self.run is None:
            return None
        return Parent(self.run.record.id, self.run.record.name, self.path.stem)


def resolve(
    text: str, name: str, artifacts: Path, *, cwd: Path, say: Callable[[str], None]
) -> Found:
    """The checkpoint of `RUN`, `RUN:NAME` or a file; `name` is taken where the text has none.

    A damaged file is named through `say`, and the newest sound one before it is taken.
    """
    file = cwd / Path(text).expanduser()
    if file.is_file() or text.endswith(".ckpt"):
        files.verify(file)
        return Found(file, file.stem)
    run, chosen = find.resolve(text, artifacts, cwd=cwd)
    return of_run(run, chosen or name, say=say)


def of_run(run: StoredRun, name: str, *, say: Callable[[str], None]) -> Found:
    """The checkpoint `name` of a run, or the newest sound one before it."""
    candidates = _candidates(run, name)
    for entry in candidates:
        path = run.directory.path / entry.file
        try:
            files.verify(path, entry.sha256)
        except (CheckpointDamaged, CheckpointNotFound) as error:
            say(f"{error.message}; trying the one before it")
            continue
        return Found(path, name, run)
    raise CheckpointDamaged(f"run {run.record.name} has no sound checkpoint {name!r} or before it")


def _candidates(run: StoredRun, name: str) -> list[CheckpointEntry]:
    """The entry called `name`, then those saved before it, newest first."""
    listed = run.record.checkpoints
    chosen = next((entry for entry in listed if entry.name == name), None) or _unlisted(run, name)
    if chosen is None:
        raise CheckpointNotFound(_missing(run, name))
    before = {entry.file: entry for entry in listed if entry.batch < chosen.batch}
    return [chosen, *sorted(before.values(), key=lambda entry: -entry.batch)]


def _unlisted(run: StoredRun, name: str) -> CheckpointEntry | None:
    """A file that one of the experiment's own callbacks wrote."""
    folder = run.directory.checkpoints
    for path in (folder / f"{name}.ckpt", folder / name):
        if path.is_file() and path.parent == folder:
            return CheckpointEntry(path.stem, f"{folder.name}/{path.name}", "training", -1, 0, 0)
    return None


def _missing(run: StoredRun, name: str) -> str:
    folder = run.directory.checkpoints
    names = [entry.name for entry in run.record.checkpoints]
    names += sorted({path.stem for path in folder.glob("*.ckpt")} - set(names))
    has = f"it has {', '.join(names)}" if names else "it has none"
    return f"run {run.record.name} has no checkpoint {name!r} in {folder}: {has}"
