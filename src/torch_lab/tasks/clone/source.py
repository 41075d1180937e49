"""What is cloned: an experiment of the project, or the code of one of its runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from torch_lab import settings as settings_
from torch_lab.errors import StoreError, UsageError
from torch_lab.experiment.finding import CONFIGURATION
from torch_lab.experiment.listing import experiments, number_of, scripts
from torch_lab.store import find, git
from torch_lab.store.find import StoredRun
from torch_lab.store.source import MANIFEST, unpack
from torch_lab.tasks.trust import is_own
from torch_lab.utils.names import as_name
from torch_lab.utils.paths import absolute, display, marked_root, project_root
from torch_lab.utils.text import suggestion


@dataclass(frozen=True)
class Source:
    """An experiment to be cloned.

    `directory` is where it is, or was, in the project; `files` is where its files are read, which
    for a run's code lies elsewhere, in `bundle`.
    """

    root: Path
    directory: Path
    files: Path
    run: StoredRun | None = None
    bundle: Path | None = None

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.directory.name

    @property
    def path(self) -> str:
        """Its directory, from the project's root."""
        return Path(os.path.relpath(self.directory, self.root)).as_posix()

    @property
    def commit(self) -> str | None:
        """The commit that the code was of, whatever was changed since."""
        if self.run is not None:
            return git.recorded(self.run.directory.git_diff).get("commit")
        return git.ask(self.root, "rev-parse", "--verify", "--quiet", "HEAD")

    def masked(self) -> list[str]:
        """Where secrets in the experiment's code were masked when the run was recorded."""
        if self.bundle is None:
            return []
        try:
            entries = json.loads((self.bundle / MANIFEST).read_bytes())["masked"]
            places = [(each["path"], each["lines"][0]) for each in entries]
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return []
        inside = [(PurePosixPath(path), line) for path, line in places]
        return [
            f"{path.relative_to(self.path)}:{line}"
            for path, line in inside
            if path.is_relative_to(self.path)
        ]


def experiment(word: str) -> Source:
    """The experiment that a folder, a script in it, a name, a title or a number names."""
    path = absolute(word)
    if path.exists():
        folder = path if path.is_dir() else path.parent
        if not (folder / CONFIGURATION).is_file():
            raise UsageError(
                f"{display(folder)} is not an experiment: it has no {CONFIGURATION}",
                hint=_instead(folder.name, project_root(folder)),
            )
        return Source(project_root(folder), folder, folder)
    root = marked_root(Path.cwd())
    if root is None:
        raise UsageError(
            f'no experiment "{word}": {Path.cwd()} is in no project',
            hint="a pyproject.toml marks a project's root; `lab init` makes a whole one",
        )
    known = experiments(root)
    name, _, script = word.strip("/").removesuffix(".py").partition("/")
    found = [each for each in known if _is_named(each, name)]
    if len(found) > 1:
        raise UsageError(
            f'"{word}" names {len(found)} experiments: {_listed(found)}',
            hint="Name one by its folder.",
        )
    if not found:
        raise UsageError(f'no experiment "{word}" in {root}', hint=_instead(word, root, known))
    if script and script not in (has := scripts(found[0])):
        message = f'{display(found[0])} has no script "{script}"'
        raise UsageError(message, hint=suggestion(script, has))
    return Source(root, found[0], found[0])


def _listed(found: list[Path]) -> str:
    return ", ".join(map(display, found[:4])) + ", …" * (len(found) > 4)


def _is_named(directory: Path, name: str) -> bool:
    number = number_of(directory.name)
    if name.isascii() and name.isdecimal():
        return number == int(name)
    title = directory.name if number is None else directory.name.partition("_")[2]
    return name == directory.name or as_name(name) == title


def _instead(word: str, root: Path, known: list[Path] | None = None) -> str:
    names = [each.name for each in (experiments(root) if known is None else known)]
    return suggestion(word, names) if names else "`lab init` makes a project with a first one"


@contextmanager
def recorded(text: str, *, trust: bool) -> Iterator[Source]:
    """The experiment as a run recorded it, unpacked until the block ends."""
    ours = settings_.load(Path.cwd())
    run, checkpoint = find.resolve(text, ours.artifacts, lost_after=ours.lost_after)
    if checkpoint is not None:
        raise UsageError(
            f"--from {text}: the code is that of the run, whichever the checkpoint",
            hint=f"type `--from {run.record.name}`",
        )
    if not (trust or is_own(run)):
        raise UsageError(
            f"run {run.record.name} is not of this project ({display(ours.artifacts)}):"
            " the clone would be code from elsewhere",
            hint="If you know where it comes from: --trust.",
        )
    with TemporaryDirectory(prefix="torch-lab-clone-") as temporary:
        yield _unpacked(run, ours.root, Path(temporary))


def _unpacked(run: StoredRun, root: Path, folder: Path) -> Source:
    bundle, name = run.directory.source_bundle, run.record.name
    try:
        unpack(bundle, folder)
    except FileNotFoundError as error:
        raise StoreError(f"run {name} has no code: {bundle} is missing") from error
    script = PurePosixPath(run.record.script)
    files = folder.joinpath(*script.parent.parts)
    if ".." in script.parts or script.is_absolute() or not (files / CONFIGURATION).is_file():
        raise StoreError(f"the code of run {name} holds no experiment {run.record.experiment}")
    return Source(root, root.joinpath(*script.parent.parts), files, run, folder)
