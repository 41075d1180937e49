"""A server that means harm gains nothing: real commands, and what they leave behind.

What single answers do to a call is in test_server.py, what they do to a file in test_storage.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from clearml_server.api.auth import ACCESS_KEY, SECRET_KEY
from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS, RUN, Lab
from helpers import environment
from mirror.mirrored_lab import MirroredLab, mirrored
from mirror.server_content import Content, facts_of
from mirror.wild_server import Answer, Wild, endless, logged_in, plain, redirect, wild, wild_server
from torch_lab.errors import ServerUnreachable
from torch_lab.mirror.server import Server
from torch_lab.mirror.task import run_tag
from zygote import Zygote

__all__ = ["wild"]

PASSWORDS = Path("/etc/passwd")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Path:
    """The directory of a run of the tiny project."""
    lab = Lab.copied(tmp_path_factory.mktemp("trained") / "tiny", zygote)
    outcome = lab.train()
    assert outcome.status == 0, outcome
    return lab.artifacts / RUN


@pytest.fixture(scope="module")
def last(trained: Path) -> Path:
    return trained / "checkpoints" / "last.ckpt"


@pytest.fixture
def content(shared_clearml_server: ClearMLServer) -> Content:
    return Content(shared_clearml_server)


@pytest.fixture
def lab(
    tmp_path: Path, zygote: Zygote, shared_clearml_server: ClearMLServer
) -> Iterator[MirroredLab]:
    """A project with nothing trained, of a user of the server."""
    (tmp_path / "deep").mkdir()
    with mirrored(tmp_path / "deep" / "tiny", zygote, shared_clearml_server.environment) as made:
        yield made


@pytest.fixture
def elsewhere() -> Iterator[Wild]:
    """Another host, that everybody is sent to."""
    with wild_server() as made:
        yield made


def files_below(folder: Path) -> set[Path]:
    own = {"said", "predicting"}  # what the tests and the tiny project write themselves
    return {path for path in folder.rglob("*") if path.is_file() and not own & {*path.parts}}


def outside(lab: MirroredLab, tmp_path: Path) -> set[Path]:
    """Files that lie in the test's folder, but not in the project's artifacts."""
    return {path for path in files_below(tmp_path) if lab.artifacts not in path.parents}


class Harm:
    """What runs when somebody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


# Checkpoints


def passwords_with_their_hash(content: Content, task: str, last: Path, tmp: Path) -> str:
    content.model(task, "last", f"file://{PASSWORDS}", facts_of(PASSWORDS))
    return "is damaged on the server"


def a_device(content: Content, task: str, last: Path, tmp: Path) -> str:
    content.model(task, "last", "file:///dev/zero", {"size": 10**6})
    return "there is no file at file:///dev/zero"


def a_way_up(content: Content, task: str, last: Path, tmp: Path) -> str:
    content.model(task, "last", "../../../../../../etc/passwd")
    return "is no address of a file"


def a_wrong_hash(content: Content, task: str, last: Path, tmp: Path) -> str:
    uri = content.file(f"hostile/{task}/last.ckpt", last.read_bytes())
    content.model(task, "last", uri, facts_of(last) | {"sha256": "0" * 64})
    return "its SHA-256 is not the one that was registered"


def a_size_beyond_the_disk(content: Content, task: str, last: Path, tmp: Path) -> str:
    uri = content.file(f"hostile/{task}/last.ckpt", last.read_bytes())
    content.model(task, "last", uri, {"size": 10**17})
    return "the disk has less free"


def a_page(content: Content, task: str, last: Path, tmp: Path) -> str:
    uri = content.file(f"hostile/{task}/last.ckpt", b"<html>Please log in</html>" * 100)
    content.model(task, "last", uri)
    return "is damaged on the server"


def code(content: Content, task: str, last: Path, tmp: Path) -> str:
    torch.save({"state_dict": Harm(tmp / "harmed")}, tmp / "harm.ckpt")
    uri = content.file(f"hostile/{task}/last.ckpt", (tmp / "harm.ckpt").read_bytes())
    content.model(task, "last", uri, facts_of(tmp / "harm.ckpt"))
    (tmp / "harm.ckpt").unlink()
    return "--trust"


HARMS = [
    *(passwords_with_their_hash, a_device, a_way_up, a_wrong_hash),
    *(a_size_beyond_the_disk, a_page, code),
]


@pytest.mark.parametrize("harm", HARMS, ids=lambda each: each.__name__)
def test_a_checkpoint_that_is_none(
    harm, lab: MirroredLab, content: Content, last: Path, tmp_path: Path
) -> None:
    task = content.task("hostile", "hostile checkpoints")
    words = harm(content, task, last, tmp_path)
    before = outside(lab, tmp_path)
    outcome = lab.do("infer", HPARAMS, "--checkpoint", task)
    assert outcome.status == 2, outcome
    assert words in outcome.err, outcome
    assert outside(lab, tmp_path) == before
    if harm is not code:  # that one is a file like any other, until somebody loads it
        assert not list(lab.artifacts.rglob("*.ckpt"))
    for path in files_below(lab.artifacts):
        assert b"root:" not in path.read_bytes()


@pytest.mark.parametrize("mirrored_run", [False, True], ids=["1.x", "2"])
def test_names_that_lead_out(
    mirrored_run: bool, lab: MirroredLab, content: Content, last: Path, tmp_path: Path
) -> None:
    tags = [run_tag(os.urandom(16).hex())] if mirrored_run else []
    task = content.task("../../../evil", "hostile names/..", system_tags=tags)
    uri = content.file(f"hostile/{task}/last.ckpt", last.read_bytes())
    content.model(task, "../../../../evil", uri, facts_of(last))
    before = outside(lab, tmp_path)
    outcome = lab.do("infer", HPARAMS, "--checkpoint", f"{task}:../../../../evil")
    assert outcome.status == 0, outcome
    (fetched,) = lab.artifacts.rglob("*.ckpt")
    assert fetched.read_bytes() == last.read_bytes()
    assert outside(lab, tmp_path) == before


def test_a_run_whose_files_lead_out(
    lab: MirroredLab, content: Content, last: Path, tmp_path: Path
) -> None:
    identifier = os.urandom(16).hex()
    task = content.task("../../evil", "hostile pulls", system_tags=[run_tag(identifier)])
    made = tmp_path / "made"
    made.mkdir()
    with zipfile.ZipFile(made / "journal.zip", "w") as archive:
        for name in ("../../../evil.jsonl", "/tmp/evil.jsonl", "metrics/../../../0000.jsonl"):
            archive.writestr(name, "{}\n")
        link = zipfile.ZipInfo("metrics/0000.jsonl")
        link.external_attr = 0o120777 << 16  # a link, by what the archive says
        archive.writestr(link, "/etc/passwd")
    content.artifact(task, "journal", made / "journal.zip")
    content.artifact(task, "source", PASSWORDS, uri=f"file://{PASSWORDS}")
    content.artifact(task, "../../../evil", last)
    content.artifact(task, "run.json", last)
    content.model(task, "../evil", content.file(f"h/{task}/a.ckpt", last.read_bytes()))
    before = outside(lab, tmp_path)
    outcome = lab.do("lab", "pull", task)
    assert outcome.status in (0, 1, 2), outcome
    assert outside(lab, tmp_path) == before
    assert not any(path.is_symlink() for path in lab.artifacts.rglob("*"))
    assert not Path("/tmp/evil.jsonl").exists()


def test_names_that_move_the_cursor(lab: MirroredLab, content: Content) -> None:
    tags = [run_tag(os.urandom(16).hex()), "torch-lab"]
    task = content.task("red \x1b[31m\x1b]0;title\x07\r\n", "\x1b[2Jhostile", system_tags=tags)
    content.model(task, "\x1b[31mlast", "failed_uploading")
    for words in (("lab", "runs", "--server"), ("infer", HPARAMS, "--checkpoint", f"{task}:no")):
        outcome = lab.do(*words)
        assert "\x1b" not in outcome.out + outcome.err, outcome
        assert "\x07" not in outcome.out + outcome.err, outcome


# Hosts


@pytest.mark.parametrize("status", [302, 307])
def test_no_credentials_are_sent_elsewhere(
    status: int, wild: Wild, elsewhere: Wild, trained: Path, tmp_path: Path, zygote: Zygote
) -> None:
    wild.answers["*"] = redirect(f"{elsewhere.url}/api", status)
    with mirrored(tmp_path / "tiny", zygote, wild.environment) as lab:
        shutil.copytree(trained, lab.artifacts / RUN)
        outcome = lab.do("lab", "sync", RUN)
    assert outcome.status != 0, outcome
    assert " redirects to http" in outcome.out + outcome.err, outcome
    assert SECRET_KEY not in outcome.out + outcome.err
    assert ACCESS_KEY not in outcome.out + outcome.err
    assert elsewhere.told == []
    assert wild.told


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_call_is_sent_elsewhere(status: int, wild: Wild, elsewhere: Wild, monkeypatch) -> None:
    for name, value in wild.environment.items():
        monkeypatch.setenv(name, value)
    server = Server.connect()
    wild.answers["*"] = redirect(f"{elsewhere.url}/api", status)
    for attempt in (
        lambda: server.call("tasks.get_all"),
        lambda: server.call("tasks.create", name="a task"),
        lambda: server.add_events([{"msg": "a line"}]),
        Server.connect,
    ):
        with pytest.raises(ServerUnreachable, match=" redirects to http://127"):
            attempt()
    assert elsewhere.told == []


def test_files_are_not_sent_elsewhere_nor_fetched_there(
    wild: Wild, elsewhere: Wild, last: Path
) -> None:
    """307 keeps method and body: a checkpoint, and the token, would go to the other host."""
    wild.answers |= {"*auth.login": logged_in, "*": redirect(f"{elsewhere.url}/x", 307)}
    code = (
        "import sys; from pathlib import Path\n"
        "from torch_lab.errors import ServerUnreachable\n"
        "from torch_lab.mirror import storage\n"
        "url, file = sys.argv[1], Path(sys.argv[2])\n"
        "for attempt in (lambda: storage.upload(file, url, deadline=5),\n"
        "                lambda: storage.present(url, 1, deadline=5),\n"
        "                lambda: storage.download(url, Path(sys.argv[3]), size=None,\n"
        "                                         sha256=None, deadline=5)):\n"
        "    try:\n"
        "        attempt()\n"
        "    except ServerUnreachable as error:\n"
        "        print(error)\n"
    )
    done = said_by(code, f"{wild.url}/a.ckpt", str(last), str(last.with_name("new")), of=wild)
    assert done.count(" redirects to") == 3, done
    assert elsewhere.told == []


def test_a_file_of_another_host_is_fetched_without_the_token(
    lab: MirroredLab, content: Content, last: Path, elsewhere: Wild
) -> None:
    """A model's address may be anywhere; nobody there learns who asks."""
    elsewhere.answers["/last.ckpt"] = plain(last.read_bytes())
    task = content.task("hosted elsewhere", "hostile hosts")
    content.model(task, "last", f"{elsewhere.url}/last.ckpt", facts_of(last))
    outcome = lab.do("infer", HPARAMS, "--checkpoint", task)
    assert outcome.status == 0, outcome
    assert elsewhere.told
    for each in elsewhere.told:
        assert "Authorization" not in each.headers
        assert SECRET_KEY not in str(each)


# Sizes

MEMORY = """
import resource, sys, time
from pathlib import Path
from torch_lab.errors import ServerError
from torch_lab.mirror import storage
from torch_lab.mirror.server import Server
server = Server.connect()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for attempt in (lambda: server.call("tasks.get_all", deadline=4),
                lambda: storage.download(sys.argv[1], Path(sys.argv[2]), size=10**6,
                                         sha256=None, deadline=4)):
    began = time.monotonic()
    try:
        attempt()
        print("took it")
    except ServerError as error:
        print(type(error).__name__, error)
    print("slow" if time.monotonic() - began > 5 else "in time")
used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print("too much" if used > 250 else "little", f"{used:.0f} MB")
"""


def said_by(code: str, *words: str, of: Wild) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(**of.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


ZEROS = b"\0" * (1 << 20)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
# Made by the test that wants it: packing takes seconds, and each of pytest's workers imports this.
LARGE: dict[str, Callable[[], Answer]] = {
    "endless": lambda: endless(ZEROS, head=b"HTTP/1.1 200 OK\r\n\r\n"),
    "packed": lambda: plain(packed(1500, level=1), Content_Encoding="gzip"),
    "packed and endless": lambda: endless(packed(64, level=9), head=HEAD),
    "one long line of chunks": lambda: endless(
        b"1" * 65536, head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "one long header": lambda: endless(b"x" * 65536, head=b"HTTP/1.1 200 OK\r\nX-Header: "),
    "headers": lambda: endless(b"X-Header: 1\r\n" * 1000, head=b"HTTP/1.1 200 OK\r\n"),
}


def packed(megabytes: int, *, level: int) -> bytes:
    """Zeros as gzip packs them, without as many in memory."""
    packing = zlib.compressobj(level, wbits=zlib.MAX_WBITS | 16)
    parts = [packing.compress(ZEROS) for _ in range(megabytes)]
    return b"".join([*parts, packing.flush()])


@pytest.mark.parametrize("kind", LARGE)
def test_no_answer_fills_the_memory(kind: str, wild: Wild, tmp_path: Path) -> None:
    wild.answers |= {"*auth.login": logged_in, "*": LARGE[kind]()}
    began = time.monotonic()
    said = said_by(MEMORY, f"{wild.url}/a", str(tmp_path / "a"), of=wild)
    assert time.monotonic() - began < 60
    assert "too much" not in said, said
    assert "took it" not in said, said
    assert said.count("in time") == 2, said
    assert list(tmp_path.iterdir()) == []
