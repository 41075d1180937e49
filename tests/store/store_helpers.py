"""What the store's tests share: runs made by hand, full disks, processes of their own."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch_lab.store import host
from torch_lab.store.claim import claim, new_id
from torch_lab.store.lock import Holder, Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record, RecordWriter

SOURCES = Path(__file__).parents[2] / "src"


def new_run(artifacts: Path, prefix: str = "00_digits-hparams") -> RunDirectory:
    return claim(artifacts, prefix)


def write_record(run: RunDirectory, **fields: Any) -> Record:
    """A finished or half-finished run on disk, as its process would have left it."""
    fields = {"id": new_id(), "status": "completed", "experiment": "00_digits"} | fields
    fields = {"script": "project/experiments/00_digits/hparams.py"} | fields
    lock = Lock.acquire(run, lost_after=60)
    record = RecordWriter(run, lock, Record(name=run.name, **fields)).update()
    lock.release()
    return record


def write_holder(run: RunDirectory, generation: int = 1, **changes: Any) -> Holder:
    """A lock that names another process; `changes` make it differ from this one."""
    fields = vars(host.this_process()) | changes
    holder = Holder("f" * 32, generation, host.Process(**fields))
    run.lock.write_bytes(holder.content())
    return holder


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it was touched so long ago."""
    now = path.stat().st_mtime
    os.utime(path, (now - seconds, now - seconds))


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Writing beyond `size` fails, as it does on a full disk, mid-line if need be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def python(code: str, *words: object) -> subprocess.Popen[str]:
    """Another process, its standard streams connected."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
