"""A run's source.tar.gz, unpacked so that it can be imported beside the project's present code."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from torch_lab import settings as settings_
from torch_lab.errors import StoreError
from torch_lab.store.find import StoredRun
from torch_lab.store.source import MANIFEST, link_rest, unpack
from torch_lab.utils import recorded
from torch_lab.utils.paths import marked_root
from torch_lab.utils.roots import append_root

_unpacked: dict[str, Path] = {}  # by the run's id, until this process ends


def unpacked(run: StoredRun) -> Path:
    """The folder with the run's code, which stands for the project's root as it was."""
    if run.record.id not in _unpacked:
        folder = Path(tempfile.mkdtemp(prefix=f"{run.record.name}-")).resolve()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _extract(run, folder)
        _register(run, folder)
        _unpacked[run.record.id] = folder
    return _unpacked[run.record.id]


def discard(run: StoredRun) -> None:
    """Delete the folder, which nothing will be imported from any more."""
    folder = _unpacked.pop(run.record.id, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def masked(run: StoredRun) -> str:
    """Where secrets were masked in the code, as the end of a sentence."""
    try:
        manifest = json.loads((_unpacked[run.record.id] / MANIFEST).read_bytes())
        places = [f"{each['path']}:{each['lines'][0]}" for each in manifest["masked"]]
    except (OSError, KeyError, ValueError, TypeError, IndexError):
        return ""
    return f" (secrets in it were masked: {', '.join(places)})" if places else ""


def _extract(run: StoredRun, folder: Path) -> None:
    bundle = run.directory.source_bundle
    try:
        unpack(bundle, folder)
    except FileNotFoundError as error:
        raise StoreError(f"run {run.record.name} has no code: {bundle} is missing") from error


def _register(run: StoredRun, folder: Path) -> None:
    """Let what is imported from the folder have names of its own, and find what isn't in it."""
    script = folder.joinpath(*PurePosixPath(run.record.script).parts)
    packages = [
        each
        for each in script.parents
        if each.is_relative_to(folder) and each != folder and (each / "__init__.py").is_file()
    ]
    root = packages[-1].parent if packages else folder
    recorded.register(root, run.record.id)
    project = marked_root(run.directory.path) or settings_.load(Path.cwd()).root
    append_root(project / root.relative_to(folder))
    link_rest(folder, project)
