"""Questions answered by a process of their own: in time, or not at all, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from helpers import environment, wait_for
from mirror.wild_server import Wild, plain, silence, wild
from torch_lab.errors import ServerError, ServerRefused, ServerUnreachable
from torch_lab.mirror.asking import ask, start_asking

__all__ = ["wild"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    made = tmp_path / "a.ckpt"
    made.write_bytes(b"content")
    return str(made)


def using(server: ClearMLServer | Wild, monkeypatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_an_answer(shared_clearml_server: ClearMLServer, file: str, monkeypatch):
    using(shared_clearml_server, monkeypatch)
    url = f"{shared_clearml_server.url}/asked/a.ckpt"
    assert ask("upload", 20, file=file, url=url, deadline=10) == {}
    assert shared_clearml_server.files()["asked/a.ckpt"] == len(b"content")


def test_a_question_that_may_take_for_ever(shared_clearml_server, file: str, monkeypatch):
    using(shared_clearml_server, monkeypatch)
    url = f"{shared_clearml_server.url}/ages/a.ckpt"
    assert ask("upload", 1e15, file=file, url=url, deadline=1e15) == {}


def test_a_refusal_comes_with_its_codes(wild: Wild, file: str, monkeypatch):
    using(wild, monkeypatch)
    wild.answers["/"] = plain(b"", status=413)
    with pytest.raises(ServerRefused, match=r"the file server answers 413$") as caught:
        ask("upload", 20, file=file, url=f"{wild.url}/a", deadline=10)
    assert (caught.value.code, caught.value.subcode) == (413, 0)


def test_an_error_comes_with_its_hint(file: str):
    with pytest.raises(ServerError) as caught:
        ask("upload", 20, file=file, url="/failed_uploading", deadline=10)
    assert type(caught.value) is ServerError
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("`lab sync RUN`")


@pytest.mark.parametrize("timeout", [0.05, 1.5])
def test_no_answer_in_time(timeout: float, wild: Wild, file: str, monkeypatch):
    """While it starts, and while it waits for the server."""
    using(wild, monkeypatch)
    wild.answers["*"] = silence
    started = time.monotonic()
    # The process that asks gives up at the same moment, and may be the first to say so.
    with pytest.raises(ServerUnreachable, match=r"did not answer within|no answer in time"):
        ask("upload", timeout, file=file, url=f"{wild.url}/a", deadline=60)
    assert time.monotonic() - started < timeout + 20


def test_asked_in_the_background(wild: Wild, file: str, monkeypatch):
    using(wild, monkeypatch)
    wild.answers["*"] = silence
    asking = start_asking("upload", 60, file=file, url=f"{wild.url}/a", deadline=60)
    process = asking._process.pid
    assert not asking.poll()
    with pytest.raises(ServerUnreachable, match="the ClearML server did not answer within"):
        asking.answer(0.1)
    asking.end()
    assert gone(process)
    asking.end()  # as often as one likes


def test_polled_until_the_answer_is_there(shared_clearml_server, file: str, monkeypatch):
    using(shared_clearml_server, monkeypatch)
    url = f"{shared_clearml_server.url}/polled/a.ckpt"
    asking = start_asking("upload", 20, file=file, url=url, deadline=10)
    try:
        wait_for(asking.poll)
        assert asking.answer(0) == asking.answer() == {}
    finally:
        asking.end()


def test_a_mistake_of_ours_is_told(file: str):
    with pytest.raises(ServerError, match=r"^asking the server failed: KeyError: 'no such"):
        ask("no such question", 20)
    with pytest.raises(ServerError, match="asking the server failed: TypeError: "):
        ask("upload", 20, nothing=1)


def test_a_process_that_dies(wild: Wild, file: str, monkeypatch):
    using(wild, monkeypatch)
    wild.answers["*"] = silence
    asking = start_asking("upload", 60, file=file, url=f"{wild.url}/a", deadline=60)
    os.kill(asking._process.pid, signal.SIGKILL)
    with pytest.raises(ServerError, match=r"^the process that asks the server died \(status -9\)"):
        asking.answer()
    asking.end()


def test_no_process_can_be_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ServerError, match=r"^no process can be started to ask the server: "):
        ask("upload", 20)


def test_it_ends_by_itself_when_nobody_is_left_to_end_it(wild: Wild, file: str):
    wild.answers["*"] = silence
    code = (
        "import os, sys; from torch_lab.mirror.asking import start_asking\n"
        "asking = start_asking('upload', 1.0, file=sys.argv[1], url=sys.argv[2], deadline=60)\n"
        "print(asking._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file, f"{wild.url}/a"],
        env=environment(**wild.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -9
    wait_for(lambda: gone(int(done.stdout)))
