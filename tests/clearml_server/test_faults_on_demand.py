"""The server fails as it is told to, where it is told to, and is well again when it is healed."""

from __future__ import annotations

import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from clearml_server.talking import Client


@pytest.fixture
def client(clearml_server: ClearMLServer) -> Client:
    return Client(clearml_server, timeout=2)


def names(server: ClearMLServer) -> list[str]:
    return [each["name"] for each in server.tasks()]


def test_a_fault_hits_some_requests_to_some_endpoints(
    client: Client, clearml_server: ClearMLServer
) -> None:
    clearml_server.fault("error", endpoints=["tasks.*"], after=1, times=2, status=503)
    statuses = [client.raw("POST", "/tasks.get_all", b"{}")[0] for _ in range(5)]
    assert statuses == [401, 503, 503, 401, 401]
    assert client.login() == 200
    assert clearml_server.counts() == {"tasks.get_all": 5, "auth.login": 1}
    with pytest.raises(AssertionError, match="called 'nothing'"):
        clearml_server.task("nothing")


def test_an_answer_is_lost_though_the_work_is_done(
    client: Client, clearml_server: ClearMLServer
) -> None:
    for kind, name in (("error", "first"), ("drop", "second"), ("garbage", "third")):
        clearml_server.fault(kind, endpoints=["tasks.create"], times=1, done=True)
        with pytest.raises((KeyError, OSError, ValueError)):
            client.call("tasks.create", name=name, type="training").data["id"]
    assert names(clearml_server) == ["first", "second", "third"]
    clearml_server.fault("drop", endpoints=["files.POST"], times=1, done=True)
    with pytest.raises(ConnectionError):
        client.upload("a/b", b"content")
    assert clearml_server.files() == {"a/b": 7}


def test_refused_hanging_stopped_and_back(client: Client, clearml_server: ClearMLServer) -> None:
    clearml_server.fault("refuse")
    with pytest.raises(ConnectionRefusedError):
        client.login()
    clearml_server.heal()
    assert client.login() == 200
    clearml_server.fault("hang")
    with pytest.raises(TimeoutError):
        client.login()
    clearml_server.heal()
    clearml_server.call("tasks.create", name="kept", type="training")
    clearml_server.stop()
    with pytest.raises(ConnectionRefusedError):
        client.login()
    clearml_server.start()
    assert client.login() == 200
    assert names(clearml_server) == ["kept"]


def test_the_database_is_lost_and_the_files_are_not(
    client: Client, clearml_server: ClearMLServer
) -> None:
    clearml_server.call("tasks.create", name="lost", type="training")
    client.upload("kept/file", b"12345")
    clearml_server.forget()
    assert names(clearml_server) == []
    assert clearml_server.files() == {"kept/file": 5}
    assert clearml_server.queue("default")


def test_uploads_are_whole_or_not_there(client: Client, clearml_server: ClearMLServer) -> None:
    content = bytes(range(256)) * 4096 + b"\r\n--not the end\r\n"
    assert client.upload("a folder/weights.ckpt", content) == 200
    assert client.raw("GET", "/a%20folder/weights.ckpt")[2] == content
    assert client.raw("HEAD", "/a%20folder/weights.ckpt")[1]["Content-Length"] == str(len(content))
    clearml_server.fault("cut")
    with pytest.raises(OSError, match=r"reset|aborted|closed|pipe"):
        client.upload("a folder/cut.ckpt", content)
    clearml_server.heal()
    clearml_server.fault("files")
    assert client.upload("a folder/refused.ckpt", content) == 500
    assert client.login() == 200
    clearml_server.heal()
    assert client.upload("../outside", content) == 400
    assert clearml_server.files() == {"a folder/weights.ckpt": len(content)}
    assert list((clearml_server.root / "server" / "partial").iterdir()) == []
    assert not Path(clearml_server.root / "server" / "outside").exists()


def test_answers_that_gain_nothing(client: Client, clearml_server: ClearMLServer) -> None:
    clearml_server.fault("redirect", times=1, to="http://127.0.0.1:1")
    status, headers, _ = client.raw("POST", "/auth.login")
    assert (status, headers["Location"]) == (307, "http://127.0.0.1:1/auth.login")
    clearml_server.fault("huge", times=1, size=1 << 24)
    assert len(client.raw("POST", "/auth.login")[2]) == 1 << 24
    clearml_server.fault("slow", times=1, seconds=0.2)
    began = time.monotonic()
    assert client.login() == 200
    assert time.monotonic() - began > 0.2
    clearml_server.fault("trickle", seconds=0.05)
    with closing(HTTPConnection("127.0.0.1", clearml_server.port, timeout=5)) as connection:
        connection.request("POST", "/auth.login")
        began = time.monotonic()
        assert connection.getresponse().read(4) == b"    "
        assert time.monotonic() - began > 0.1


def test_an_answer_is_late_though_the_work_is_done(
    client: Client, clearml_server: ClearMLServer
) -> None:
    clearml_server.fault("slow", seconds=0.3, done=True, times=1)
    with pytest.raises(TimeoutError):
        Client(clearml_server, timeout=0.1).call("tasks.create", name="one", type="training")
    assert names(clearml_server) == ["one"]
    clearml_server.fault("slow", seconds=0.01, done=True)
    assert client.call("tasks.create", name="two", type="training").code == 200
    assert names(clearml_server) == ["one", "two"]
