"""A new project: made whole in a new folder, or added to one that has no experiments yet."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_lab import __version__
from torch_lab.errors import UsageError
from torch_lab.experiment.listing import experiments
from torch_lab.tasks.init.package import package_name
from torch_lab.tasks.init.template import project_files
from torch_lab.utils.files import open_atomic
from torch_lab.utils.folders import making, new_folder
from torch_lab.utils.paths import absolute, display, marked_root
from torch_lab.utils.text import plural

EXPERIMENT = "00_shapes"
# Whoever begins with a repository made on the web has some of these: they stay as they are.
_KEPT = ("README.md", ".gitignore", "pyproject.toml")


@dataclass(frozen=True)
class Made:
    """What was made: `named` after is what the package's name is made of, where it differs."""

    root: Path
    package: str
    named: str | None
    written: tuple[str, ...]
    kept: tuple[str, ...]
    around: Path | None

    @property
    def script(self) -> str:
        """The first hyperparameter script, from the project's root."""
        return f"{self.package}/experiments/{EXPERIMENT}/hparams.py"


def init(path: Path, name: str | None = None) -> Made:
    """Make a project in a folder; whatever is there already stays as it is."""
    root = absolute(path)
    _require_place(root)
    package, named = package_name(root, name)
    files = project_files(package, __version__)
    _refuse_experiments(root, package)
    kept = tuple(each for each in _KEPT if os.path.lexists(root / each))
    missing = _missing(root, {each: data for each, data in files.items() if each not in kept})
    with making(root):
        _write(root, missing)
    return Made(root, package, named, tuple(missing), kept, _around(root))


def _require_place(root: Path) -> None:
    if os.path.lexists(root) and not root.is_dir():
        raise UsageError(
            f"{display(root)} is not a folder", hint="name a folder, or one to be made"
        )
    if root in (Path.home(), Path(root.anchor)):
        raise UsageError(
            f"{root} as a project would have every folder below it as a part",
            hint="name a folder to be made: `lab init my_project`",
        )


def _refuse_experiments(root: Path, package: str) -> None:
    ours = root / package / "experiments" / EXPERIMENT
    found = [each for each in experiments(root) if each != ours] if root.is_dir() else []
    if found:
        names = ", ".join(each.name for each in found[:3]) + ", …" * (len(found) > 3)
        raise UsageError(
            f"{display(root)} is a project already, with {names}",
            hint=f'its next experiment: `lab clone {found[-1].name} "my idea"`',
        )


def _missing(root: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that are not there yet; those that are there have to be just the same."""
    there = [each for each in files if os.path.lexists(root / each) or _blocked(root, each)]
    changed = [each for each in there if not _is(root / each, files[each])]
    if changed:
        raise UsageError(
            f"{display(root)} has {plural(len(changed), 'file')} that a new project would replace:"
            f" {_listed(changed)}",
            hint="name another folder, or another package with `--name`",
        )
    return {each: data for each, data in files.items() if each not in there}


def _blocked(root: Path, name: str) -> bool:
    """Whether something other than a plain folder is where one of a file's folders should be."""
    folders = [root / each for each in Path(name).parents if each != Path()]
    return any(
        os.path.lexists(each) and (each.is_symlink() or not each.is_dir()) for each in folders
    )


def _is(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + ", …" * (len(names) > 4)


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    if root.exists():
        _fill(root, files)
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(root.parent, f".{root.name[:100]}.") as folder:
        _fill(folder, files)
        folder.rename(root)


def _fill(root: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(path, durable=False) as file:
            file.write(data)


def _around(root: Path) -> Path | None:
    """The project that the new one lies in."""
    outer = marked_root(root.parent)
    return outer if outer is not None and (outer / "pyproject.toml").exists() else None


def describe(made: Made) -> str:
    """What was made, what was left as it was, and what to type next."""
    lines = [_headline(made)]
    if made.named is not None:
        lines.append(f"  package   {made.package}, after {made.named!r}")
    lines += [f"  {each}" for each in _remarks(made)]
    words = [f"cd {shlex.quote(display(made.root))}"] if made.root != Path.cwd() else []
    words += [f"train {made.script}", f"infer {made.script} --checkpoint {EXPERIMENT}/hparams:best"]
    words += [f'lab clone {EXPERIMENT} "my idea"', "python -m pytest"]
    return "\n".join([*lines, "next", *(f"  {each}" for each in words)]) + "\n"


def _headline(made: Made) -> str:
    if not made.written:
        return f"{display(made.root)} has all of it already"
    what = f"the package {made.package} and a first experiment, {EXPERIMENT}"
    return f"{display(made.root)}: a project with {what}"


def _remarks(made: Made) -> list[str]:
    remarks = []
    if made.kept:
        remarks.append(f"kept      {', '.join(made.kept)}: as it was")
    if ".gitignore" in made.kept and not _ignores_data(made.root / ".gitignore"):
        remarks.append("note      .gitignore doesn't name data/: add `data/*` and `!data/raw/`")
    if made.around is not None:
        remarks.append(
            f"note      it lies within the project {made.around}, but has settings and runs of"
            " its own"
        )
    return remarks


def _ignores_data(file: Path) -> bool:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip().lstrip("/").startswith("data") for line in lines)
