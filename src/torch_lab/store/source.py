"""The code of a run as it was: source.tar.gz, and what was left out of it."""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from torch_lab.errors import StoreError
from torch_lab.store.failures import storing
from torch_lab.store.git import listed_files
from torch_lab.store.source_masks import masked_source
from torch_lab.utils.files import open_atomic, write_atomic
from torch_lab.utils.text import format_size

FORMAT = 1
MANIFEST = ".torch-lab-bundle.json"
LARGEST_FILE = 10_000_000
LARGEST_BUNDLE = 100_000_000

_SECRET_FILES = (
    ".env*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "id_rsa*",
    "id_ed25519*",
    "clearml.conf",
    ".netrc",
    ".pypirc",
    "credentials.json",
)
# What no repository wants; where git can't be asked, hidden names go as well.
_LITTER = ("__pycache__", "*.py[co]", ".git", ".DS_Store")
_NO_DATA = (".*", "__pycache__", "*.py", "*.py[co]")
_LITTER_WITHOUT_GIT = (
    ".*",
    "*.egg-info",
    "build",
    "dist",
    "env",
    "venv",
    "node_modules",
    "wandb",
    "lightning_logs",
    "*.ckpt",
)


@dataclass
class _Bundle:
    """What goes into the archive, by its path there, and what doesn't."""

    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    executable: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    masked: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    size: int = 0


def bundle(experiment_directory: Path, root: Path, target: Path) -> None:
    """Write the experiment's directory and its package, as they are, to a .tar.gz.

    Equal code gives equal bytes. Secrets that stand in the code are masked. The archive's manifest
    names what was left out, and why, and the lines that were masked.
    """
    content = _collected(experiment_directory, root)
    with (
        storing("write", target),
        open_atomic(target) as file,
        # No name and no time in the header: equal code, equal bytes.
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        _write(archive, content)


def members(experiment_directory: Path, root: Path) -> dict[str, bytes]:
    """The files that `bundle` would take now, by their paths in it, with its masks."""
    return _collected(experiment_directory, root).files


def read_members(packed: Path) -> dict[str, bytes]:
    """The plain files of a bundle by their paths in it, its manifest aside; nothing is unpacked.

    FileNotFoundError where there is none, StoreError where it is damaged or far too large.
    """
    found: dict[str, bytes] = {}
    room = LARGEST_BUNDLE + LARGEST_FILE
    with _reading(packed), tarfile.open(packed, "r|gz") as archive:
        for member in archive:
            room -= member.size
            if room < 0:
                raise StoreError(
                    f"{packed} holds more than {format_size(LARGEST_BUNDLE)}",
                    hint="No bundle of torch-lab's is that large: it isn't read.",
                )
            name = PurePosixPath(member.name)
            inside = not name.is_absolute() and ".." not in name.parts
            file = archive.extractfile(member) if member.isreg() and inside else None
            if file is not None and str(name) != MANIFEST:
                found[str(name)] = file.read()
    return found


def unpack(packed: Path, folder: Path) -> None:
    """Unpack a bundle into a folder; FileNotFoundError where there is none."""
    with _reading(packed), tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")  # nothing outside, no devices


@contextlib.contextmanager
def _reading(packed: Path) -> Iterator[None]:
    """Say of a bundle that can't be read that it is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise StoreError(f"{packed} is damaged: {error}") from error


def stage(packed: Path, folder: Path, project: Path, pyproject: bytes) -> None:
    """Unpack a bundle for training from it: a project of its own, the rest of it linked.

    Done once: a folder that is there is whole, and later edits of the project don't matter to it.
    """
    if folder.exists():
        return
    draft = folder.with_name(f".{folder.name}.tmp")
    draft.mkdir(exist_ok=True)
    try:
        unpack(packed, draft)
    except BaseException:  # raised again
        shutil.rmtree(draft, ignore_errors=True)
        raise
    marker = draft / "pyproject.toml"  # says that this is a project's root
    if not marker.exists():
        write_atomic(marker, pyproject)
    link_rest(draft, project)
    draft.rename(folder)


def link_rest(folder: Path, project: Path) -> None:
    """Let what a bundle doesn't hold, data and other packages, be the project's as it is now.

    Within the folders that it does hold: whatever is no code, such as files that git ignores.
    """
    for path in project.iterdir():
        beside = folder / path.name
        if path.name.startswith("."):
            continue
        if not os.path.lexists(beside):
            beside.symlink_to(path.resolve(), target_is_directory=path.is_dir())
        elif path.is_dir() and beside.is_dir() and not beside.is_symlink():
            _link_data(beside, path)


def _link_data(folder: Path, present: Path) -> None:
    with contextlib.suppress(OSError):  # a folder that can't be read is as good as none
        for path in present.iterdir():
            beside = folder / path.name
            if path.is_dir() and beside.is_dir() and not beside.is_symlink():
                _link_data(beside, path)
            elif not (os.path.lexists(beside) or _matches(path.name, _NO_DATA)):
                beside.symlink_to(path.resolve(), target_is_directory=path.is_dir())


def is_litter(name: str) -> bool:
    """Whether a file or folder of that name is what tools or trainings make."""
    made = [pattern for pattern in _LITTER_WITHOUT_GIT if pattern != ".*"]
    return _matches(name, (*_LITTER, *made))


def script_hashes(experiment_directory: Path) -> dict[str, str]:
    """The sha256 of each Python file of an experiment, by its path there."""
    hashes = {}
    for path in _walk(experiment_directory, (*_LITTER, ".*")):
        if path.suffix == ".py" and path.is_file():
            name = path.relative_to(experiment_directory).as_posix()
            with storing("read", path):
                hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(sorted(hashes.items()))


def _collected(experiment_directory: Path, root: Path) -> _Bundle:
    experiment, root = experiment_directory.resolve(), root.resolve()
    content = _Bundle(root if experiment.is_relative_to(root) else experiment.parent)
    folder = _package(experiment, content.root)
    for path in _code_files(folder, experiment, content):
        _add(path, content)
    return content


def _package(experiment: Path, root: Path) -> Path:
    """The topmost folder with an __init__.py that holds the experiment, else the experiment's."""
    above = [experiment, *experiment.parents]
    below_root = above[: above.index(root)]
    packages = [folder for folder in below_root if (folder / "__init__.py").is_file()]
    return packages[-1] if packages else experiment


def _code_files(folder: Path, experiment: Path, content: _Bundle) -> Iterator[Path]:
    listed = _listed(folder)
    if listed is None:
        content.notes.append("git could not be asked: hidden and generated files were left out")
        yield from _walk(folder, (*_LITTER, *_LITTER_WITHOUT_GIT))
        return
    yield from listed
    if not any(path.suffix == ".py" and experiment in path.parents for path in listed):
        # Someone trains what they don't commit: a record without its code would be worth little.
        content.notes.append("git ignores the experiment's own directory; it is here all the same")
        yield from _walk(experiment, (*_LITTER, *_LITTER_WITHOUT_GIT))


def _listed(folder: Path) -> list[Path] | None:
    """The files below a folder that git doesn't ignore, those of repositories within it too."""
    names = listed_files(folder)
    if names is None:
        return None
    found: list[Path] = []
    for name in names:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            inner = listed_files(path) if (path / ".git").exists() else None
            found += [path / name for name in inner or ()]
        else:
            found.append(path)
    return found


def _walk(folder: Path, litter: tuple[str, ...]) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _matches(name, litter))
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*files, *linked]):
            if not _matches(name, litter):
                yield Path(place) / name


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _add(path: Path, content: _Bundle) -> None:
    name = path.relative_to(content.root).as_posix()
    if any(_matches(part, _LITTER) for part in PurePosixPath(name).parts):
        return
    try:
        reason = _refusal(path, name, content) or _take(path, name, content)
    except FileNotFoundError:
        return  # deleted but still in git's index
    except OSError as error:
        reason = f"can't be read: {error.strerror}"
    if reason:
        content.left_out[name] = reason


def _refusal(path: Path, name: str, content: _Bundle) -> str | None:
    parts = PurePosixPath(name).parts
    if any(_matches(part.lower(), _SECRET_FILES) for part in parts):
        return "may hold secrets"
    for depth, part in enumerate(parts[:-1], 1):
        folder = content.root.joinpath(*parts[:depth])
        # A package of loaders is often called data, too.
        if part == "data" and not (folder / "__init__.py").is_file():
            return "data"
        if folder.is_symlink():
            return "below a link"
    kind = path.lstat()
    if stat.S_ISLNK(kind.st_mode):
        return None if _real(path).is_relative_to(content.root) else "a link that leads outside"
    if not stat.S_ISREG(kind.st_mode):
        return "not a plain file"
    if kind.st_size > LARGEST_FILE:
        return f"{format_size(kind.st_size)}, more than {format_size(LARGEST_FILE)}"
    if content.size + kind.st_size > LARGEST_BUNDLE:
        return f"the bundle would grow over {format_size(LARGEST_BUNDLE)}"
    return None


def _real(path: Path) -> Path:
    # Unlike Path.resolve, this doesn't raise on links that run in a circle.
    return Path(os.path.realpath(path))


def _take(path: Path, name: str, content: _Bundle) -> str | None:
    if path.is_symlink():
        content.links[name] = os.path.relpath(_real(path), _real(path.parent))
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LARGEST_FILE + 1)
        executable = os.fstat(descriptor).st_mode & 0o100
    content.files[name], lines = masked_source(name, data)
    if lines:
        content.masked[name] = lines
    content.size += len(data)
    if executable:
        content.executable.add(name)
    return None


def _write(archive: tarfile.TarFile, content: _Bundle) -> None:
    manifest = {
        "format": FORMAT,
        "left_out": [{"path": name, "why": why} for name, why in sorted(content.left_out.items())],
        "masked": [
            {"path": name, "lines": lines} for name, lines in sorted(content.masked.items())
        ],
        "notes": content.notes,
    }
    _write_file(archive, MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n", 0o644)
    for name in sorted({*content.files, *content.links}):
        if name in content.links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, content.links[name]
            archive.addfile(link)
        else:
            mode = 0o755 if name in content.executable else 0o644
            _write_file(archive, name, content.files[name], mode)


def _write_file(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    archive.addfile(member, io.BytesIO(data))
