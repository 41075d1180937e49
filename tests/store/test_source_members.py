"""Reading a bundle without unpacking it."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from torch_lab.errors import StoreError
from torch_lab.store import source
from torch_lab.store.source import MANIFEST, bundle, members, read_members


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a link in it and a secret in its code."""
    made = tmp_path / "project"
    experiment = made / "pkg" / "experiments" / "00_x"
    experiment.mkdir(parents=True)
    (made / "pkg" / "__init__.py").touch()
    (experiment / "__main__.py").write_text('api_key = "a1b2c3d4e5f6"\nwidth = 3\n')
    (experiment / "linked.py").symlink_to("__main__.py")
    (experiment / "data.bin").write_bytes(b"\0\xff")
    return made


def written(path: Path, *files: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in files:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_the_plain_files_of_a_bundle_are_read(root, tmp_path):
    packed = tmp_path / "source.tar.gz"
    bundle(root / "pkg/experiments/00_x", root, packed)
    found = read_members(packed)
    assert found == {
        "pkg/__init__.py": b"",
        "pkg/experiments/00_x/__main__.py": b'api_key = "***"\nwidth = 3\n',
        "pkg/experiments/00_x/data.bin": b"\0\xff",
    }
    assert MANIFEST not in found


def test_what_would_be_bundled_now_is_what_a_bundle_has(root, tmp_path):
    packed = tmp_path / "source.tar.gz"
    experiment = root / "pkg/experiments/00_x"
    bundle(experiment, root, packed)
    assert members(experiment, root) == read_members(packed)


def test_nothing_outside_is_named(tmp_path):
    names = ("/etc/passwd", "../up.py", "a/../../up.py", "pkg/a.py", "./pkg/b.py")
    files = [(tarfile.TarInfo(name), b"x") for name in names]
    assert read_members(written(tmp_path / "b.tar.gz", *files)) == {
        "pkg/a.py": b"x",
        "pkg/b.py": b"x",
    }


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_passed_over(tmp_path, kind):
    strange = tarfile.TarInfo("pkg/strange.py")
    strange.type, strange.linkname = kind, "/etc/passwd"
    packed = written(tmp_path / "b.tar.gz", (strange, b""), (tarfile.TarInfo("a.py"), b"1"))
    assert read_members(packed) == {"a.py": b"1"}


def test_a_bundle_that_unpacks_to_far_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "LARGEST_BUNDLE", 1000)
    monkeypatch.setattr(source, "LARGEST_FILE", 1000)
    files = [(tarfile.TarInfo(f"{number}.py"), b"\0" * 900) for number in range(3)]
    with pytest.raises(StoreError, match=r"holds more than 1\.0 kB") as caught:
        read_members(written(tmp_path / "b.tar.gz", *files))
    assert "No bundle of torch-lab's is that large: it isn't read." in str(caught.value)


def test_a_missing_bundle_is_told_from_a_damaged_one(root, tmp_path):
    with pytest.raises(FileNotFoundError):
        read_members(tmp_path / "none.tar.gz")
    packed = tmp_path / "source.tar.gz"
    bundle(root / "pkg/experiments/00_x", root, packed)
    whole = packed.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no archive", gzip.compress(b"x" * 99)):
        packed.write_bytes(content)
        with pytest.raises(StoreError, match="is damaged"):
            read_members(packed)
