from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from store_helpers import everything_in, files_no_larger_than

from torch_lab.utils.files import fsync_directory, open_atomic, write_atomic


def test_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert everything_in(tmp_path) == ["a"]
    fsync_directory(tmp_path)


def test_old_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    write_atomic(path, b"one")
    with open_atomic(path) as file:
        file.write(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"


def test_failures_leave_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"one")
    with files_no_larger_than(10), pytest.raises(OSError, match="File too large"):
        write_atomic(path, b"x" * 100)
    with pytest.raises(KeyboardInterrupt), open_atomic(path):
        raise KeyboardInterrupt

    def refuse() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomic(path, b"two", before_replace=refuse)
    assert path.read_bytes() == b"one"
    assert everything_in(tmp_path) == ["a"]
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "a", b"")


@pytest.mark.parametrize(
    ("number", "matters"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_folders_that_are_not_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, matters: bool
) -> None:
    """Some file systems refuse it; a disk that fails is another matter."""

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    if matters:
        with pytest.raises(OSError, match="Input/output error"):
            fsync_directory(tmp_path)
    else:
        fsync_directory(tmp_path)
