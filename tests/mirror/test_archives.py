"""Archives from elsewhere: what they may hold, and where it goes."""

from __future__ import annotations

import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from torch_lab.errors import ServerError
from torch_lab.mirror import archives


def packed(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_file_and_its_place(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", one=b"1" * 5000, two=b"2")
    assert archives.members(archive) == ["one", "two"]
    archives.unpack(archive, "one", tmp_path / "deep" / "down")
    assert (tmp_path / "deep" / "down").read_bytes() == b"1" * 5000


@pytest.mark.parametrize("name", ["a", "a/b.c", "a b/é", "a..b", ".a", "-"])
def test_names_that_lead_inside(name: str) -> None:
    assert archives.is_inside(name)


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/../b", "/a", "a//b", "a/", "./a", "a\\..\\b", "a\0b", "a\x1b[2Jb"]
)
def test_names_that_don_t(name: str) -> None:
    assert not archives.is_inside(name)


def test_more_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros pack a thousand to one: what counts is what they become."""
    archive = packed(tmp_path / "bomb.zip", zeros=bytes(10_000_000))
    assert archive.stat().st_size < 20_000
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9_000_000))
    with pytest.raises(ServerError, match="from the server holds more than there is room for"):
        archives.members(archive)


def test_damaged_ones(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", one=bytes(range(256)) * 40)
    content = bytearray(archive.read_bytes())
    content[60] ^= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(ServerError, match=r"a\.zip from the server is damaged: "):
        archives.unpack(archive, "one", tmp_path / "target")
    archive.write_bytes(b"no zip")
    with pytest.raises(ServerError, match=r"a\.zip from the server is damaged: "):
        archives.members(archive)
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]


def test_one_that_wants_a_password(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", one=b"1")
    content = bytearray(archive.read_bytes())
    for header in (b"PK\x03\x04", b"PK\x01\x02"):  # the bit that says so
        content[content.index(header) + (6 if header[2] == 3 else 8)] |= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(ServerError, match="from the server is locked"):
        archives.unpack(archive, "one", tmp_path / "target")
