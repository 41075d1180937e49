"""Where the operating system's errors become ours."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from torch_lab.errors import StoreError

_ELSEWHERE = "or keep the runs elsewhere: `artifacts` in [tool.torch-lab], or TORCH_LAB_ARTIFACTS"
_HINTS = {
    errno.EIO: "The disk fails, or the connection to it: look at the system's log (dmesg).",
    errno.ENOSPC: f"Free some space, {_ELSEWHERE}.",
    errno.EDQUOT: f"Free some of your quota, {_ELSEWHERE}.",
    errno.EFBIG: f"Raise the limit on file sizes (ulimit -f), {_ELSEWHERE}.",
    errno.EACCES: f"Allow writing there, {_ELSEWHERE}.",
    errno.EPERM: f"Allow writing there, {_ELSEWHERE}.",
    errno.EROFS: f"Mount it writable, {_ELSEWHERE}.",
    errno.ENOTDIR: f"Move the file that is in the way, {_ELSEWHERE}.",
    errno.EEXIST: f"Move what is in the way, {_ELSEWHERE}.",
}


def store_error(action: str, path: Path, error: OSError) -> StoreError:
    """The one message for a file operation that failed: what, where, why, what to do."""
    reason = error.strerror or str(error)
    hint = _HINTS.get(error.errno or 0)
    return StoreError(f"can't {action} {path}: {reason}", hint=hint)


@contextlib.contextmanager
def storing(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError raised in the block into a StoreError that says what was being done."""
    try:
        yield
    except OSError as error:
        raise store_error(action, path, error) from error
