"""One checkpoint file: written so that nothing torn is left, loaded so that no code runs."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from torch_lab.checkpoints import plain, standins
from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    SaveFailed,
)
from torch_lab.store.failures import store_error
from torch_lab.utils.files import fsync_directory
from torch_lab.utils.later import Later

_LOSSY = tuple(  # for people; torch-lab never reads them back
    f"{owner}{name}"
    for owner in ("", "datamodule_")
    for name in ("hyper_parameters", "hparams_name", "hparams_type")
)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a failed save into SaveFailed."""
    try:
        yield
    except OSError as error:
        failure = store_error("save checkpoint", path, error)
        raise SaveFailed(failure.message, hint=failure.hint) from error
    except CheckpointDamaged as error:
        raise SaveFailed(
            f"can't save checkpoint {path}: what is read back is not what was written"
        ) from error
    except CheckpointError as error:  # what was written is gone, or can't be read
        raise SaveFailed(f"can't save checkpoint {path}: {error.message}") from error


class _Stream:
    """A file that keeps the system's error, for which torch's writer raises "unexpected pos"."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def encoded(checkpoint: dict[str, Any], *, lossy: bool = False) -> dict[str, Any]:
    """`checkpoint` as it is written."""
    return {
        key: plain.encode(value, f"checkpoint[{key!r}]", lossy=lossy or key in _LOSSY)
        for key, value in checkpoint.items()
    }


def write_draft(contents: dict[str, Any], path: Path) -> Path:
    """Stream what `encoded` returned to a temporary file beside `path`; `publish` puts it in place.

    The folder above `path`'s own has to be there: where it was deleted, nothing is made anew.
    """
    draft = path.parent / f".{path.name}.{os.getpid()}.tmp"
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        try:
            with draft.open("wb") as file:
                _stream(plain.lean(_made(contents)), file)
        except BaseException:  # a signal too; raised again
            discard(draft)
            raise
    return draft


def _made(contents: dict[str, Any]) -> dict[str, Any]:
    """With the weights that were left for later."""
    weights = contents.get("state_dict")
    if not isinstance(weights, dict) or not any(type(each) is Later for each in weights.values()):
        return contents
    made = {name: each.make() if type(each) is Later else each for name, each in weights.items()}
    return contents | {"state_dict": made}


def discard(draft: Path) -> None:
    """Take a draft away, where that is still possible: why it goes is what is to be said."""
    with suppress(OSError):
        draft.unlink(missing_ok=True)


def _stream(contents: dict[str, Any], file: BinaryIO) -> None:
    stream = _Stream(file)
    try:
        torch.save(contents, cast(BinaryIO, stream))
    except RuntimeError:
        if stream.error is not None:
            raise stream.error from None
        raise


def publish(draft: Path, path: Path, *, before_replace: Callable[[], None] = lambda: None) -> str:
    """Flush, read back and verify the draft, then give it its name; returns its sha256.

    `before_replace` is called when the draft is on disk, and may still refuse by raising.
    """
    with writing(path):
        try:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            digest = verify(draft)
            before_replace()
            draft.replace(path)
        except BaseException:  # a signal too; raised again
            discard(draft)
            raise
        fsync_directory(path.parent)
    return digest


def save(
    checkpoint: dict[str, Any],
    path: Path,
    *,
    before_replace: Callable[[], None] = lambda: None,
    lossy: bool = False,
) -> str:
    """Write a checkpoint that is either whole under its name or not there; returns its sha256."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = write_draft(encoded(checkpoint, lossy=lossy), path)
    return publish(draft, path, before_replace=before_replace)


def verify(path: Path, sha256: str | None = None) -> str:
    """Check every byte of the file against its own checksums, and against `sha256` if given."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise CheckpointNotFound(f"checkpoint {path} is {what}")
    try:
        digest = _digest(path)
        if sha256 is not None and digest != sha256:
            raise _damaged(path, "not the bytes that were saved")
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except OSError as error:  # says nothing about the file's contents
        raise CheckpointError(f"can't read checkpoint {path}: {error.strerror}") from error
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    if bad is not None:
        raise _damaged(path, f"wrong checksum in {bad}")
    return digest


def _damaged(path: Path, why: object) -> CheckpointDamaged:
    return CheckpointDamaged(f"checkpoint {path} is damaged: {why}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """The checkpoint's contents, on the CPU; with `trust`, also what only pickle can load."""
    verify(path)
    return load_verified(path, trust=trust)


# What reading a strange pickle raises, the safe way or the other.
_UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, CheckpointDamaged, EOFError, ImportError),
    *(LookupError, RecursionError, RuntimeError, TypeError, ValueError, struct.error),
)


def load_verified(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """`load` for a file that `verify` has just passed."""
    try:
        contents = _opened(path, trust)
        if not isinstance(contents, dict):
            raise TypeError(f"it holds a {type(contents).__name__}")
        decoded = {key: plain.decode(value) for key, value in contents.items()}
        return _with_versions(decoded, contents)
    except pickle.UnpicklingError as error:
        culprit = _culprit(error)
        if culprit is None:
            raise CheckpointDamaged(
                f"{path} can't be read as a checkpoint: broken pickle"
            ) from error
        raise CheckpointUnsafe(
            f"checkpoint {path} is refused: loading it could run code ({culprit})",
            hint="If you know where it comes from, load it with --trust.",
        ) from error
    except OSError as error:
        raise CheckpointError(f"can't read checkpoint {path}: {error.strerror}") from error
    except _UNREADABLE as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointDamaged(f"{path} can't be read as a checkpoint: {why}") from error


def _with_versions(decoded: dict[str, Any], contents: dict[str, Any]) -> dict[str, Any]:
    """With the versions of submodules, which torch hangs on a state dict that is saved alone."""
    versions = getattr(contents, "_metadata", None)
    if versions is None:
        return decoded
    made = OrderedDict(decoded)
    made._metadata = versions  # type: ignore[attr-defined]
    return made


def _opened(path: Path, trust: bool) -> Any:
    known = _torch_classes()
    try:
        with torch.serialization.safe_globals(known):
            # said outright: TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD changes only what is left open
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        contents = None if trust else _without_strangers(path, known)
        if contents is None:
            raise
        strangers = [*standins.names({k: v for k, v in contents.items() if k not in _LOSSY})]
        if strangers:
            raise pickle.UnpicklingError(f"GLOBAL {strangers[0]} is needed") from error
        return {k: standins.as_text(v) if k in _LOSSY else v for k, v in contents.items()}


def _without_strangers(path: Path, known: list[Any]) -> dict[Any, Any] | None:
    """The contents with stand-ins for what the safe loader refuses; None where that won't do."""
    with torch.serialization.safe_globals(known):
        try:
            unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except (pickle.UnpicklingError, *_UNREADABLE):
            return None
    classes = [standins.stand_in(name) for name in unknown]
    with torch.serialization.safe_globals([*known, *classes]):
        try:
            contents = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, *_UNREADABLE):
            return None
    return contents if isinstance(contents, dict) else None


def _culprit(error: Exception) -> str | None:
    """What the safe loader refused, by name; None where the pickle itself is broken."""
    found = re.search(
        r"(?:GLOBAL |got <class '|function <?(?:class '|function )?)([\w.]+)", str(error)
    )
    return found.group(1) if found else None


def _torch_classes() -> list[Any]:
    """torch's own optimizers and schedulers, which checkpoints of torch-lab 1.x name."""
    optim = torch.optim
    kinds = (optim.Optimizer, optim.lr_scheduler.LRScheduler, optim.lr_scheduler.ReduceLROnPlateau)
    found = [*vars(optim).values(), *vars(optim.lr_scheduler).values()]
    return [each for each in found if isinstance(each, type) and issubclass(each, kinds)]
