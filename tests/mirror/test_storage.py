"""Files on the server and in folders: there in full, or an error; fetched as announced, or not."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import time
import types
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from mirror.wild_server import Wild, endless, logged_in, plain, redirect, silence, wild
from torch_lab.errors import ServerError, ServerRefused, ServerUnreachable, StoreError
from torch_lab.mirror import storage
from torch_lab.mirror.server import Server

__all__ = ["wild"]

CONTENT = os.urandom(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BOUNDED = 30  # seconds: more than any deadline here, as busy as the machine may be


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "last.ckpt"
    made.write_bytes(CONTENT)
    return made


@pytest.fixture(params=["http", "file", "path"])
def base(request, tmp_path: Path, shared_clearml_server: ClearMLServer, monkeypatch) -> str:
    """A place for files: the file server, a file:// address, a path with a blank in it."""
    using(shared_clearml_server, monkeypatch)
    folder = tmp_path / "a store"
    return {
        "http": shared_clearml_server.url,
        "file": f"file://{folder}",
        "path": str(folder),
    }[request.param]


def using(server: ClearMLServer | Wild, monkeypatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    Server.connect()


@pytest.fixture
def hosting(wild: Wild, monkeypatch) -> Wild:
    """A file server by hand."""
    using(wild, monkeypatch)
    return wild


def fetch(url: str, target: Path, **kwargs) -> None:
    given = {"size": len(CONTENT), "sha256": SHA256, "deadline": 10} | kwargs
    storage.download(url, target, **given)


# Addresses


@pytest.mark.parametrize(
    ("base", "parts", "expected"),
    [
        ("http://h:8081", ["digits", "a.123", "m.ckpt"], "http://h:8081/digits/a.123/m.ckpt"),
        ("http://h/x y/", ["a b"], "http://h/x%20y/a_b"),
        ("http://h/x%20y", ["a"], "http://h/x%20y/a"),
        ("s3://bucket/dir", ["team/digits", "ü?#"], "s3://bucket/dir/team/digits/_"),
        ("file:///mnt/x y", ["..", "../..", "a"], "file:///mnt/x y/_/_/_/a"),
        ("/mnt/x", [".hidden", "", "a//b"], "file:///mnt/x/hidden/a/b"),
    ],
)
def test_addresses_are_made_of_plain_names(base: str, parts: list[str], expected: str):
    assert storage.address(base, *parts) == expected


def test_a_relative_folder_is_one_of_here(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert storage.address("store", "a") == f"file://{tmp_path}/store/a"
    assert storage.address("~/store", "a") == "file:///home/ada/store/a"


# There and back


def test_there_and_back(base: str, file: Path, tmp_path: Path):
    url = storage.address(base, "my project/ü", "run 7.abc", "models", "last.ckpt")
    assert not storage.present(url, None)
    storage.upload(file, url, deadline=10)
    assert storage.present(url, len(CONTENT))
    assert storage.present(url, None)
    assert not storage.present(url, len(CONTENT) + 1)
    target = tmp_path / "fetched.ckpt"
    fetch(url, target)
    fetch(url, target, size=None, sha256=None)  # over the first one, and nobody knows its hash
    assert target.read_bytes() == CONTENT
    assert storage.present(url, len(CONTENT)), "copied, not moved"
    assert file.exists()
    assert storage.remove(url)
    assert not storage.present(url, None)


def test_names_as_others_give_them(
    shared_clearml_server: ClearMLServer, file, tmp_path, monkeypatch
):
    using(shared_clearml_server, monkeypatch)
    url = f"{shared_clearml_server.url}/my%20project/%C3%BC%25/a.ckpt"
    storage.upload(file, url, deadline=10)
    assert "my project/ü%/a.ckpt" in shared_clearml_server.files()
    fetch(url, tmp_path / "fetched.ckpt")


def test_an_empty_file(base: str, tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")
    url = storage.address(base, "empty")
    storage.upload(tmp_path / "empty", url, deadline=10)
    storage.download(url, tmp_path / "back", size=0, sha256=None, deadline=10)
    assert (tmp_path / "back").read_bytes() == b""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "0" * 64}, "its SHA-256 is not the one that was registered"),
        ({"size": len(CONTENT) - 1}, "it has more than the 3.1 MB that are expected"),
        ({"size": len(CONTENT) + 1}, f"it has {len(CONTENT)} bytes, not {len(CONTENT) + 1}"),
    ],
)
def test_what_is_not_as_announced_is_not_kept(base, file, tmp_path, changes, words):
    url = storage.address(base, "wrong.ckpt")
    storage.upload(file, url, deadline=10)
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises(ServerError, match=f"wrong.ckpt is not what was registered: {words}$"):
        fetch(url, folder / "a.ckpt", **changes)
    assert list(folder.iterdir()) == []
    (folder / "a.ckpt").write_text("what was there before")
    with pytest.raises(ServerError):
        fetch(url, folder / "a.ckpt", **changes)
    assert [each.read_text() for each in folder.iterdir()] == ["what was there before"]


def test_what_is_not_there(base: str, tmp_path: Path):
    url = storage.address(base, "never.ckpt")
    with pytest.raises(
        ServerError, match=r"never\.ckpt( can't be read: the file server answers 404)?$"
    ) as caught:
        fetch(url, tmp_path / "a.ckpt")
    assert str(caught.value).startswith("there is no file at file") or caught.value.code == 404
    assert not storage.remove(url)


# Addresses of nothing


def test_a_marker_of_clearml_is_no_file(tmp_path: Path):
    for name in ("uploading_file", "failed_uploading"):
        url = f"http://h/{name}"
        assert storage.is_marker(url)
        message = "stands for a file that never arrived on the server"
        with pytest.raises(ServerError, match=message) as caught:
            fetch(url, tmp_path / "a")
        assert str(caught.value.hint) == (
            "`lab sync RUN` sends it, on the machine where the run was made."
        )


@pytest.mark.parametrize("url", ["relative/a.ckpt", "ftp://h/a", "", "~/a", "javascript:1", "http"])
def test_what_is_no_address(url: str, tmp_path: Path):
    with pytest.raises(ServerError, match=r"is no address of a file$"):
        fetch(url, tmp_path / "a")


@pytest.mark.parametrize(
    ("url", "package", "module"),
    [
        ("s3://b/a", "boto3", "boto3"),
        ("gs://b/a", "google-cloud-storage", "google"),
        ("azure://a.blob.core.windows.net/b/a", "azure-storage-blob", "azure"),
    ],
)
def test_clouds_need_their_package(url, package, module, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ServerError, match=f":// addresses need the package {package}\n") as caught:
        fetch(url, tmp_path / "a")
    assert caught.value.hint == f"pip install {package}"


@pytest.mark.parametrize("name", ["folder", "pipe", "/dev/zero"])
def test_only_plain_files_are_read(name: str, tmp_path: Path, monkeypatch, hosting):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    with pytest.raises(ServerError, match=f"there is no file at file://.*{name}$"):
        fetch(f"file://{tmp_path / name}", tmp_path / "a", size=None, sha256=None, deadline=5)
    assert time.monotonic() - started < BOUNDED


def test_a_folder_that_can_not_be_written(file: Path, hosting):
    with pytest.raises(ServerUnreachable, match=r"^file:///proc/x/a can't be written: "):
        storage.upload(file, "file:///proc/x/a", deadline=5)


def test_more_than_the_disk_has(tmp_path: Path, hosting):
    with pytest.raises(ServerError, match=r"has 1000000 TB: the disk has less free$"):
        fetch("http://h/a", tmp_path / "a", size=10**18)


def test_a_target_that_can_not_be_written(hosting: Wild, tmp_path: Path):
    hosting.answers["/a"] = plain(CONTENT)
    with pytest.raises(StoreError, match="can't look at"):
        fetch(f"{hosting.url}/a", tmp_path / "missing" / "a")


# A file server that fails


def test_a_size_that_the_server_tells_otherwise(hosting: Wild, tmp_path: Path):
    """Packed on the way: the length is not the file's."""
    hosting.answers["/a"] = plain(gzip.compress(b"x" * 5000), Content_Encoding="gzip")
    assert storage.present(f"{hosting.url}/a", 5000)
    assert not storage.present(f"{hosting.url}/a", 4999)
    storage.download(f"{hosting.url}/a", tmp_path / "a", size=5000, sha256=None, deadline=5)
    assert (tmp_path / "a").read_bytes() == b"x" * 5000


def test_an_upload_that_ends_somewhere_else(hosting: Wild, file: Path):
    """It says 200, and nothing is there: failed uploads look so to clearml."""
    hosting.answers["/a"] = plain(b"", status=404)
    with pytest.raises(ServerUnreachable, match=r"/a is not there in full after its upload$"):
        storage.upload(file, f"{hosting.url}/a", deadline=5)


def test_an_upload_that_is_refused(hosting: Wild, file: Path):
    hosting.answers["/"] = plain(b"too large", status=413)
    message = "/a can't be written: the file server answers 413$"
    with pytest.raises(ServerRefused, match=message) as caught:
        storage.upload(file, f"{hosting.url}/a", deadline=5)
    assert caught.value.code == 413


@pytest.mark.parametrize("kind", ["cut", "hang", "files", "drop"])
def test_uploads_that_fail(kind: str, clearml_server: ClearMLServer, file: Path, monkeypatch):
    using(clearml_server, monkeypatch)
    clearml_server.fault(kind, **({} if kind == "files" else {"endpoints": ["files.POST"]}))
    url, started = f"{clearml_server.url}/a.ckpt", time.monotonic()
    with pytest.raises(ServerUnreachable):
        storage.upload(file, url, deadline=1)
    assert time.monotonic() - started < BOUNDED
    clearml_server.heal()
    assert not storage.present(url, len(CONTENT))
    storage.upload(file, url, deadline=5)
    assert storage.present(url, len(CONTENT))


BROKEN = {
    "cut short": (
        plain(CONTENT[:1000], Content_Length=str(len(CONTENT)), Connection="close"),
        "can't be",
    ),
    "silence": (silence, "did not answer within 1.0 s"),
    "trickle": (endless(b"x", 0.05, b"HTTP/1.1 200 OK\r\n\r\n"), "did not answer within 1.0 s"),
    "endless": (
        endless(b"x" * 65536, 0, b"HTTP/1.1 200 OK\r\n\r\n"),
        "it has more than the 3.1 MB",
    ),
    "maintenance": (plain(b"", status=503), " fails: it answers 503"),
    "elsewhere": (redirect("http://127.0.0.1:9/a"), " redirects to http://127.0.0.1:9, which"),
    "round and round": (redirect("/a"), " fails: Exceeded 30 redirects"),
    "forbidden": (plain(b"", status=403), "the file server answers 403"),
    "odd packing": (
        plain(CONTENT, Content_Encoding="br"),
        " packs its answer in an unknown way",
    ),
    "packed twice": (plain(b"", Content_Encoding="gzip, gzip"), "packs its answer in an unknown"),
    "bad packing": (plain(CONTENT, Content_Encoding="gzip"), "can't be read: "),
    "bad chunks": (
        plain(b"zz\r\nabc\r\n" * 9, Content_Length="", Transfer_Encoding="chunked"),
        "can't be read: ",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_downloads_that_fail(name: str, hosting: Wild, tmp_path: Path):
    hosting.answers["/a"], words = BROKEN[name]
    folder = tmp_path / "into"
    folder.mkdir()
    started = time.monotonic()
    with pytest.raises(ServerError) as caught:
        fetch(f"{hosting.url}/a", folder / "a", deadline=1)
    assert words in str(caught.value)
    assert time.monotonic() - started < BOUNDED
    assert list(folder.iterdir()) == []


def test_a_file_that_unpacks_to_more_than_it_should(hosting: Wild, tmp_path: Path):
    bomb = gzip.compress(b"\0" * (60 << 20), 1)
    assert len(bomb) < 1 << 20
    hosting.answers["/a"] = plain(bomb, Content_Encoding="gzip")
    with pytest.raises(ServerError, match=r"it has more than the 3.1 MB"):
        fetch(f"{hosting.url}/a", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_redirect_on_the_same_server_is_followed(hosting: Wild, tmp_path: Path):
    hosting.answers |= {"/a": redirect("/b"), "/b": plain(CONTENT)}
    fetch(f"{hosting.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_credentials_and_signatures_are_not_said(hosting: Wild, tmp_path: Path):
    hosting.answers["/a*"] = plain(b"", status=403)
    url = hosting.url.replace("http://", "http://ada:hush-hush@") + "/a?X-Amz-Signature=hush-hush"
    for attempt in (
        lambda: fetch(url, tmp_path / "a"),
        lambda: storage.upload(Path(__file__), url, deadline=5),
    ):
        with pytest.raises(ServerError) as caught:
            attempt()
        assert "hush" not in str(caught.value)


def test_a_server_that_is_gone_is_no_missing_file(hosting: Wild):
    hosting.answers["/a"] = plain(b"", status=502)
    message = f"^the file server at {hosting.url} fails: it answers 502$"
    with pytest.raises(ServerUnreachable, match=message):
        storage.present(f"{hosting.url}/a", 1)


def test_the_login_that_files_need_is_bounded_too(wild: Wild, tmp_path: Path, monkeypatch):
    """No session was made before: clearml's storage logs in by itself."""
    from clearml.backend_interface.base import InterfaceBase
    from clearml.storage.helper import StorageHelper

    for name, value in wild.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(InterfaceBase, "_default_session", None)
    monkeypatch.setattr(StorageHelper, "_helpers", {})
    wild.answers |= {"*auth.login": plain(b"", status=503), "/a": plain(CONTENT)}
    started = time.monotonic()
    with pytest.raises(ServerUnreachable, match="it answers 503"):
        fetch(f"{wild.url}/a", tmp_path / "a", deadline=2)
    assert time.monotonic() - started < BOUNDED
    wild.answers["*auth.login"] = logged_in
    fetch(f"{wild.url}/a", tmp_path / "a")


# A cloud, of which clearml has the driver and this machine no package


class _Bucket:
    """What clearml's StorageHelper.get gives for an address of a cloud."""

    kept: dict[str, bytes] = {}  # noqa: RUF012

    def upload(self, path: str, url: str, **kwargs) -> str:
        self.kept[url] = Path(path).read_bytes()
        return url

    def get_object_size_bytes(self, url: str, silence_errors: bool = False) -> int | None:
        return len(self.kept[url]) if url in self.kept else None

    def download_as_stream(self, url: str, chunk_size: int | None = None):
        return iter([self.kept[url]]) if url in self.kept else None


def test_a_cloud_by_clearmls_manager(file: Path, tmp_path: Path, hosting, monkeypatch):
    from clearml.storage.helper import StorageHelper

    spec = types.ModuleType("boto3")
    spec.__spec__ = types.SimpleNamespace(name="boto3")
    monkeypatch.setitem(sys.modules, "boto3", spec)
    monkeypatch.setattr(StorageHelper, "get", classmethod(lambda cls, url, **_: _Bucket()))
    url = storage.address("s3://bucket/models", "digits", "last.ckpt")
    storage.upload(file, url, deadline=5)
    assert list(_Bucket.kept) == ["s3://bucket/models/digits/last.ckpt"]
    assert storage.present(url, len(CONTENT))
    assert not storage.present(url, 7)
    fetch(url, tmp_path / "a")
    with pytest.raises(ServerUnreachable, match=r"s3://bucket/none can't be read$"):
        fetch("s3://bucket/none", tmp_path / "a")


def test_a_cloud_without_credentials(tmp_path: Path, hosting, monkeypatch):
    from clearml.storage.helper import StorageHelper

    spec = types.ModuleType("boto3")
    spec.__spec__ = types.SimpleNamespace(name="boto3")
    monkeypatch.setitem(sys.modules, "boto3", spec)
    monkeypatch.setattr(StorageHelper, "get", classmethod(lambda cls, url, **_: None))
    with pytest.raises(ServerError, match="can't be used: clearml finds no way to it\n") as caught:
        fetch("s3://bucket/a", tmp_path / "a")
    assert caught.value.hint == (
        "Check the credentials for this storage in clearml.conf (sdk.aws, sdk.google …)."
    )
