"""One checkpoint file: written so that nothing torn is left, loaded so that no code runs."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from torch_lab.checkpoints import plain
from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
)
from torch_lab.utils.files import fsync_directory

_LOSSY = ("hyper_parameters", "datamodule_hyper_parameters")  # for people, never read back


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system and torch say about a failed save into one message."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"can't write {path}: {error.strerror or error}") from error
    except RuntimeError as error:
        # torch's stream writer hides a full disk behind "unexpected pos"
        if not re.search(
            r"unexpected pos|file write failed|iostream|PytorchStreamWriter", str(error)
        ):
            raise
        raise CheckpointError(f"can't write {path}: {_disk(path)} ({error})") from error


def _disk(path: Path) -> str:
    free = os.statvfs(path.parent)
    return f"{free.f_bavail * free.f_frsize / 1e6:.1f} MB are free on its disk"


def write_draft(checkpoint: dict[str, Any], path: Path) -> Path:
    """Stream `checkpoint` to a temporary file beside `path`; `publish` puts it in place."""
    contents = {
        key: plain.encode(value, f"checkpoint[{key!r}]", lossy=key in _LOSSY)
        for key, value in checkpoint.items()
    }
    draft = path.parent / f".{path.name}.{os.getpid()}.tmp"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                torch.save(contents, file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    return draft


def publish(draft: Path, path: Path) -> str:
    """Flush, read back and verify the draft, then give it its name; returns its sha256."""
    with writing(path):
        try:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            digest = verify(draft)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)
    return digest


def save(checkpoint: dict[str, Any], path: Path) -> str:
    """Write a checkpoint that is either whole under its name or not there; returns its sha256."""
    return publish(write_draft(checkpoint, path), path)


def verify(path: Path, sha256: str | None = None) -> str:
    """Check every byte of the file against its own checksums, and against `sha256` if given."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise CheckpointNotFound(f"checkpoint {path} is {what}")
    digest = _digest(path)
    if sha256 is not None and digest != sha256:
        raise CheckpointDamaged(f"checkpoint {path} is damaged: not the bytes that were saved")
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointDamaged(f"checkpoint {path} is damaged: {error}") from error
    if bad is not None:
        raise CheckpointDamaged(f"checkpoint {path} is damaged: wrong checksum in {bad}")
    return digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """The checkpoint's contents, on the CPU; with `trust`, also what only pickle can load."""
    verify(path)
    return load_verified(path, trust=trust)


def load_verified(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """`load` for a file that `verify` has just passed."""
    try:
        with torch.serialization.safe_globals(_torch_classes()):
            # said outright: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD changes only what is left open
            contents = _load(path, weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise CheckpointUnsafe(
            f"checkpoint {path} is refused: loading it could run code ({_culprit(error)})",
            hint="If you know where it comes from, load it with --trust.",
        ) from error
    except (EOFError, KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise CheckpointDamaged(f"checkpoint {path} can't be read: {error}") from error
    if not isinstance(contents, dict):
        raise CheckpointDamaged(f"{path} is no checkpoint: it holds a {type(contents).__name__}")
    return {key: plain.decode(value) for key, value in contents.items()}


def _load(path: Path, *, weights_only: bool) -> Any:
    return torch.load(path, map_location="cpu", weights_only=weights_only)


def _culprit(error: Exception) -> str:
    found = re.search(r"(?:GLOBAL|global|class|type) ([\w.]+\.[\w.]+)", str(error))
    return found.group(1) if found else str(error).splitlines()[0]


def _torch_classes() -> list[Any]:
    """torch's own optimizers and schedulers, which checkpoints of torch-lab 1.x name."""
    optim = torch.optim
    kinds = (optim.Optimizer, optim.lr_scheduler.LRScheduler, optim.lr_scheduler.ReduceLROnPlateau)
    found = [*vars(optim).values(), *vars(optim.lr_scheduler).values()]
    return [each for each in found if isinstance(each, type) and issubclass(each, kinds)]
