"""The example's data as a ClearML Dataset, with clearml's own class over real HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from example_project import published
from example_project.preprocess import digits
from example_project.published import UnavailableError, fetch, fetched
from helpers import environment

MODULE = ("-m", "example_project.preprocess.digits", "--upload")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "digits"
    digits.preprocess(target=folder)
    return folder


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    fetched.cache_clear()


def upload(*words: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_published_and_fetched(
    tmp_path: Path, files: Path, clearml_server: ClearMLServer, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = clearml_server.environment
    done = upload(*MODULE, cwd=digits.ROOT, **variables)
    assert done.returncode == 0, done.stderr
    said = "uploaded as the ClearML Dataset digits in project digits, id "
    first = done.stdout.splitlines()[-1].removeprefix(said)
    again = upload(
        digits.ROOT / "example_project/preprocess/digits.py", "--upload", cwd=tmp_path, **variables
    )
    second = again.stdout.splitlines()[-1].removeprefix(said)
    tasks = {each["id"]: each["runtime"]["version"] for each in clearml_server.tasks()}
    assert tasks == {first: "1.0.0", second: "1.0.1"}
    os.environ.update(variables)
    assert contents(fetch(first)) == contents(files)
    folder = fetched("digits", otherwise="nowhere")
    assert folder.endswith(second)
    assert contents(Path(folder)) == contents(files)
    assert f"ClearML Dataset digits is in {folder}" in capsys.readouterr().out


def test_no_server_is_configured(tmp_path: Path) -> None:
    done = upload(*MODULE, cwd=digits.ROOT, HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "not uploaded: It seems ClearML is not configured on this machine!\n"


def test_a_server_that_is_away(
    clearml_server: ClearMLServer, monkeypatch: pytest.MonkeyPatch, files: Path
) -> None:
    monkeypatch.setattr(published, "SOON", 3.0)
    os.environ.update(clearml_server.environment)
    clearml_server.stop()
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="the ClearML server didn't answer in 3 s"):
        published.publish(files, "digits")
    assert time.monotonic() - began < 60


def test_a_server_that_goes_in_the_midst(clearml_server: ClearMLServer, files: Path) -> None:
    os.environ.update(clearml_server.environment)
    clearml_server.fault("hang", endpoints=["files.*"])
    words = (published.PUBLISH, str(files), published.PROJECT, "digits")
    with pytest.raises(UnavailableError, match="the ClearML server didn't answer in 5 s"):
        published.ask(*words, seconds=5)


def test_what_is_not_there_is_said_and_the_local_copy_used(
    clearml_server: ClearMLServer, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ.update(clearml_server.environment)
    assert fetched("nothing", otherwise="data/local") == "data/local"
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("ClearML Dataset nothing: Could not find Dataset")
    assert line.endswith("; data/local is used")


def test_nobody_asks_for_one() -> None:
    assert fetched(None, otherwise="data/local") == "data/local"
