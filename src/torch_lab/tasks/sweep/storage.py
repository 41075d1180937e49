"""Optuna's storage: the file or database that holds a sweep's trials."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch_lab.errors import RunLocked, UsageError
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.secrets import mask_text

FOLDER = ".sweeps"  # in the artifacts folder
_ENDING = ".journal"
_TRIES, _PAUSE = 3, 0.3  # to open a database; seconds
_TURN = (0.002, 0.1)  # seconds between two looks whether the file is free: at first, at most


def place_of(storage: str | None, study: str, artifacts: Path, root: Path) -> str:
    """The storage in full: a URL as it is, a file by its path; by default in the artifacts."""
    if storage is None:
        return str(artifacts / FOLDER / f"{study}{_ENDING}")
    text = str(storage)
    return text if "://" in text else str(root / Path(text).expanduser())


def opened(place: str, lost_after: float) -> Any:
    """The storage as Optuna has it."""
    from optuna import logging

    logging.set_verbosity(logging.ERROR)
    return _database(place) if "://" in place else _file(Path(place), lost_after)


def _database(url: str, tries: int = _TRIES) -> Any:
    from optuna.storages import get_storage

    try:
        return get_storage(url)
    except ImportError as error:
        raise UsageError(
            f"the sweep's storage {mask_text(url)} needs a database driver: {error}",
            hint=f"pip install {error.name}" if error.name else None,
        ) from error
    except Exception as error:  # of whatever driver the database has
        if tries > 1:  # two processes that make the tables at once: one of them finds them made
            time.sleep(_PAUSE)
            return _database(url, tries - 1)
        said = str(getattr(error, "orig", None) or error).strip().splitlines()
        why = mask_text(said[0]) if said else type(error).__name__
        raise UsageError(
            f"the sweep's storage {mask_text(url)} can't be opened: {why}",
            hint="It is a file, or a database's URL as Optuna takes it:"
            " postgresql+psycopg2://user@host/name.",
        ) from error


def _file(path: Path, lost_after: float) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_turn(path, lost_after)))
    except OSError as error:
        raise UsageError(
            f"the sweep's storage {path} can't be opened: {error.strerror or error}"
        ) from error
    except (ValueError, AssertionError, KeyError) as error:
        raise UsageError(
            f"the sweep's storage {path} is no journal of Optuna's: {error}",
            hint="Give another file, or move this one away.",
        ) from error


def _turn(path: Path, lost_after: float) -> Any:
    """The right to append, with the protocol of a run's lock.

    Optuna's own would make everybody wait for half a minute when its holder was killed.
    """
    from optuna.storages.journal import JournalFileOpenLock

    class Turn(JournalFileOpenLock):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self._place = RunDirectory(path.with_name(f".{path.name}.lock"))
            self._held: Lock | None = None

        def acquire(self) -> bool:
            self._place.path.mkdir(exist_ok=True)
            pause, most = _TURN
            while self._held is None:
                try:
                    self._held = Lock.acquire(self._place, lost_after=lost_after)
                except RunLocked:
                    time.sleep(pause)
                    pause = min(2 * pause, most)
            return True

        def release(self) -> None:
            held, self._held = self._held, None
            if held is not None:
                held.release()

    return Turn()
