"""Optuna's storage: the file or database that holds a sweep's trials."""

from __future__ import annotations

import errno
import functools
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch_lab.errors import RunLocked, StorageAway, StoreError, UsageError
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.secrets import mask_text

FOLDER = ".sweeps"  # in the artifacts folder
_ENDING = ".journal"
_TRIES, _PAUSE = 3, 0.3  # to open a database; seconds
_BEGIN = b'{"op_code":'  # of a journal's first line
_PIECE = 4096  # bytes that are looked through at a time for the end of a line
_TURN = (0.002, 0.1)  # seconds between two looks whether the file is free: at first, at most
# So that a database that doesn't answer is given up, in seconds; what the URL says goes before it.
_POSTGRES = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
_MYSQL = {"connect_timeout": 10, "read_timeout": 30, "write_timeout": 30}
_BOUNDS = {
    "psycopg2": _POSTGRES,
    "psycopg": _POSTGRES,
    "pymysql": _MYSQL,
    "mysqldb": _MYSQL,
    "pg8000": {"timeout": 30},
}


def place_of(storage: str | None, study: str, artifacts: Path, root: Path) -> str:
    """The storage in full: a URL as it is, a file by its path; by default in the artifacts."""
    if storage is None:
        return str(artifacts / FOLDER / f"{study}{_ENDING}")
    text = str(storage)
    return text if "://" in text else str(root / Path(text).expanduser())


def opened(place: str, lost_after: float) -> Any:
    """The storage as Optuna has it; its methods raise StorageAway where it can't be reached."""
    from optuna import logging

    logging.set_verbosity(logging.ERROR)
    # Lists and dicts do as well.
    warnings.filterwarnings("ignore", "Choices for a categorical", UserWarning)
    made = _database(place) if "://" in place else _file(Path(place), lost_after)
    return Reached(made, place)


class Reached:
    """A storage whose troubles, of whatever driver or disk, are all told as StorageAway."""

    def __init__(self, storage: Any, place: str) -> None:
        self._reached = storage
        self._place = place

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._reached, name)
        return self._translated(found) if callable(found) else found

    def _translated(self, method: Callable[..., Any]) -> Callable[..., Any]:
        from optuna.exceptions import StorageInternalError

        @functools.wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except (StorageInternalError, StoreError, OSError) as error:
                raise StorageAway(
                    f"the sweep's storage {mask_text(self._place)} can't be reached: {_why(error)}",
                    hint="Nothing is lost: started again when it is back, the sweep goes on.",
                ) from error

        return called


def _why(error: BaseException) -> str:
    """What a driver or the system says, in a line and without passwords."""
    inner = error.__cause__ if isinstance(error.__cause__, Exception) else error
    said = str(getattr(inner, "orig", None) or getattr(inner, "strerror", None) or inner)
    lines = said.strip().splitlines()
    return mask_text(lines[0]) if lines else type(inner).__name__


def _database(url: str, tries: int = _TRIES) -> Any:
    from optuna.storages import RDBStorage, get_storage

    try:
        return get_storage(RDBStorage(url, engine_kwargs=_engine(url)))
    except ImportError as error:
        raise UsageError(
            f"the sweep's storage {mask_text(url)} needs a database driver: {error}",
            hint=f"pip install {error.name}" if error.name else None,
        ) from error
    except Exception as error:  # of whatever driver the database has
        if tries > 1:  # two processes that make the tables at once: one of them finds them made
            time.sleep(_PAUSE)
            return _database(url, tries - 1)
        raise UsageError(
            f"the sweep's storage {mask_text(url)} can't be opened: {_why(error)}",
            hint="It is a file, or a database's URL as Optuna takes it:"
            " postgresql+psycopg2://user@host/name.",
        ) from error


def _engine(url: str) -> dict[str, Any]:
    """How SQLAlchemy is to connect: anew where a connection was lost, and not for ever."""
    import sqlalchemy

    asked = sqlalchemy.make_url(url)
    bounds = _BOUNDS.get(asked.get_driver_name(), {})
    own = {name: value for name, value in bounds.items() if name not in asked.query}
    return {"pool_pre_ping": True, "connect_args": own}


def _file(path: Path, lost_after: float) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_journal(path)
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


def _require_journal(path: Path) -> None:
    """A file that is something else stays as it is."""
    if path.exists():
        with path.open("rb") as file:
            begin = file.read(len(_BEGIN))
        if not _BEGIN.startswith(begin):
            raise ValueError(f"it begins with {begin.decode(errors='replace')!r}")


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
            if not path.exists():  # Optuna would begin another one, and mistake it for this one
                raise FileNotFoundError(errno.ENOENT, "it is gone", str(path))
            self._place.path.mkdir(exist_ok=True)
            pause, most = _TURN
            while self._held is None:
                try:
                    self._held = Lock.acquire(self._place, lost_after=lost_after)
                except RunLocked:
                    time.sleep(pause)
                    pause = min(2 * pause, most)
            _end_line(path)
            return True

        def release(self) -> None:
            held, self._held = self._held, None
            if held is not None:
                held.release()

    return Turn()


def _end_line(path: Path) -> None:
    """Take back the half of a line that a full disk has left: nobody could read on behind it."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        begin = size
        while begin > 0:
            begin = max(begin - _PIECE, 0)
            file.seek(begin)
            newline = file.read(_PIECE).rfind(b"\n")
            if newline >= 0:
                begin += newline + 1
                break
        if begin < size:
            file.truncate(begin)
