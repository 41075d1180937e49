"""No credential of the server's is in any log, record, bundle, or anything that is sent."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_server.api.auth import ACCESS_KEY, SECRET_KEY
from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS
from mirror.mirrored_lab import MirroredLab, mirrored
from zygote import Zygote

IN_URL = "pass-in-the-url-9f8e7d"
TOKENS = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"  # how every token of the server begins
SECRETS = [each.encode() for each in (SECRET_KEY, ACCESS_KEY, IN_URL, TOKENS)]


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[MirroredLab]:
    """Addresses hold credentials too, and untracked files of the project."""
    environment = dict(clearml_server.environment)
    for name in ("WEB", "FILES"):
        key = f"CLEARML_{name}_HOST"
        environment[key] = environment[key].replace("://", f"://somebody:{IN_URL}@")
    with mirrored(tmp_path / "lab", zygote, environment) as made:
        conf = (clearml_server.root / "clearml.conf").read_text()
        for place in ("clearml.conf", "tiny/clearml.conf", "tiny/experiments/00_tiny/.env"):
            made.write(place, conf)
        yield made


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, and every file within those that are archives."""
    for path in root.rglob("*"):
        if not path.is_file():
            continue
        yield str(path), path.read_bytes()
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                for member in (each for each in archive if each.isfile()):
                    file = archive.extractfile(member)
                    yield f"{path}/{member.name}", file.read() if file else b""
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                for name in packed.namelist():
                    yield f"{path}/{name}", packed.read(name)
        elif path.suffix == ".gz":
            yield str(path), gzip.decompress(path.read_bytes())


def telling(root: Path) -> list[str]:
    """The files that hold a secret."""
    return [name for name, content in contents(root) if any(each in content for each in SECRETS)]


def test_no_credential_is_written_or_sent(lab: MirroredLab, clearml_server: ClearMLServer) -> None:
    lab.done("train", HPARAMS)
    clearml_server.fault("error", status=503)
    lab.done("train", HPARAMS, env={"TORCH_LAB_SYNC_WAIT": "2"})
    clearml_server.heal()
    clearml_server.fault("refuse")
    lab.do("lab", "sync")
    clearml_server.heal()
    wrong = {"CLEARML_API_SECRET_KEY": f"{SECRET_KEY}x", "TORCH_LAB_SYNC_WAIT": "2"}
    lab.end_senders()
    lab.done("train", HPARAMS, env=wrong)
    lab.end_senders()
    assert lab.do("lab", "sync", env=wrong).status == 2
    lab.done("lab", "sync")
    lab.do("train", HPARAMS, "-s", "fault=raises")

    assert len(clearml_server.tasks()) == 4
    assert telling(lab.artifacts) == []
    assert telling(lab.root / "said") == []  # what the commands printed
    assert telling(clearml_server.root / "server") == []
    assert any(".senders" in name for name, _ in contents(lab.artifacts))
    assert len(telling(lab.root)) == 3, "the search finds what is there to be found"
