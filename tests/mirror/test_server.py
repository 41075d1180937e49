"""The server: calls that arrive, and calls that end in time when nothing good comes back."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearml_server.api.auth import ACCESS_KEY, SECRET_KEY
from clearml_server.fixture import ClearMLServer
from helpers import environment
from mirror.wild_server import Wild, endless, meaning, plain, silence, wild, wild_server
from torch_lab.errors import ServerError, ServerRefused, ServerUnreachable
from torch_lab.mirror.server import Server

__all__ = ["wild"]

DEAD = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture
def server(shared_clearml_server: ClearMLServer, monkeypatch) -> Server:
    return connected(shared_clearml_server, monkeypatch)


def connected(to: ClearMLServer | Wild, monkeypatch, **kwargs) -> Server:
    for name, value in to.environment.items():
        monkeypatch.setenv(name, value)
    return Server.connect(**kwargs)


@contextlib.contextmanager
def ending_within(seconds: float):
    """A busy machine may add to it; what is not bounded lasts longer still."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds + 20


def a_task(server: Server) -> tuple[str, str]:
    project = server.call("projects.get_all", name="^server tests$")["projects"]
    made = project[0] if project else server.call("projects.create", name="server tests")
    task = server.call("tasks.create", name="a task", type="training", project=made["id"])
    return made["id"], task["id"]


def say(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, with nothing of this one's configuration."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


CONNECT = """
from torch_lab.errors import TorchLabError
from torch_lab.mirror.server import Server
try:
    server = Server.connect()
    print("connected to", server.host, server.web, server.files)
except TorchLabError as error:
    print(type(error).__name__, error)
"""


# Calls that arrive


def test_a_call_and_its_data(server: Server, shared_clearml_server: ClearMLServer):
    project, task = a_task(server)
    found = server.call("tasks.get_all", id=[task], only_fields=["name", "project"])["tasks"]
    assert found == [{"id": task, "name": "a task", "project": project}]
    assert server.host == server.web == server.files == shared_clearml_server.url
    expected = f"{server.web}/projects/{project}/experiments/{task}/output/log"
    assert server.page(project, task) == expected


def test_events_go_in_as_many_requests_as_their_size_asks_for(
    server: Server, shared_clearml_server: ClearMLServer
):
    _, task = a_task(server)
    count = 3000
    events = [
        {"type": "log", "task": task, "timestamp": 1_700_000_000_000 + i, "worker": "w"}
        | {"msg": f"line {i} " + "ä" * 400, "level": "info"}
        for i in range(count)
    ]
    before = shared_clearml_server.counts().get("events.add_batch", 0)
    server.add_events(events)
    assert shared_clearml_server.counts()["events.add_batch"] - before == 4
    assert shared_clearml_server.logs(task) == [each["msg"] for each in events]
    server.add_events([])
    assert len(shared_clearml_server.logs(task)) == count


def test_what_the_server_refuses_is_told_with_its_codes(server: Server):
    message = r"^the ClearML server at http://\S+ refuses tasks\.get_by_id: .* \(400/101\)$"
    with pytest.raises(ServerRefused, match=message) as caught:
        server.call("tasks.get_by_id", task="f" * 32)
    assert (caught.value.code, caught.value.subcode) == (400, 101)


def test_events_of_a_task_that_the_server_lost(server: Server):
    event = {"type": "log", "task": "f" * 32, "timestamp": 1, "msg": "x", "worker": "w"}
    with pytest.raises(ServerRefused, match="Events not added") as caught:
        server.add_events([event])
    assert (caught.value.code, caught.value.subcode) == (400, 101)


def test_events_that_are_taken_in_part_are_refused(wild: Wild, monkeypatch):
    told = {"Invalid task id": ["a", "b"]}
    wild.answers["*add_batch"] = meaning({"added": 1, "errors": 2, "errors_info": told})
    message = "^the ClearML server takes only a part of these events: .*Invalid task id"
    with pytest.raises(ServerRefused, match=message) as caught:
        connected(wild, monkeypatch).add_events([{"a": 1}])
    assert caught.value.subcode == 101
    wild.answers["*add_batch"] = meaning({"added": 1, "errors": 1})
    with pytest.raises(ServerRefused, match="no reason given") as caught:
        connected(wild, monkeypatch).add_events([{"a": 1}])
    assert caught.value.subcode == 0


def test_numbers_that_json_lacks_never_leave(server: Server):
    with pytest.raises(ValueError, match="Out of range float"):
        server.add_events([{"value": float("nan")}])


def test_an_older_server_is_asked_in_its_own_version(wild: Wild, monkeypatch):
    server = connected(wild, monkeypatch)
    server.call("tasks.get_all")
    assert wild.paths()[-1].startswith("/v2.23/tasks.get_all")
    monkeypatch.setattr(server, "_version", "2.9")
    server.call("tasks.get_all")
    assert wild.paths()[-1].startswith("/v2.9/tasks.get_all")


@pytest.mark.parametrize(
    ("spoken", "asked"),
    [("2.31", "2.23"), ("2.9", "2.9"), ("3.0", "2.23"), ("../x", "2.23"), ("", "2.23")],
)
def test_the_version_is_the_older_of_both(spoken: str, asked: str):
    from torch_lab.mirror.server import _spoken

    assert _spoken(spoken) == asked


def test_a_token_that_is_no_longer_good_is_renewed(wild: Wild, monkeypatch):
    server = connected(wild, monkeypatch)

    def once(handler) -> None:
        del wild.answers["*tasks.get_all"]
        meaning({}, 401, 30, "Unauthorized (invalid token)")(handler)

    wild.answers["*tasks.get_all"] = once
    assert server.call("tasks.get_all") == {}
    assert [path.rpartition("/")[2] for path in wild.paths()] == [
        *("auth.login", "tasks.get_all", "auth.login", "tasks.get_all")
    ]


# Configuration, read by clearml's own code


def test_without_a_configuration(tmp_path: Path):
    done = say(CONNECT, HOME=str(tmp_path))
    assert done.stdout == (
        "ServerError no ClearML server is configured\n"
        "Say where the server is in ~/clearml.conf (`clearml-init` writes one).\n"
    )
    assert done.stderr == ""


def test_the_file_is_read(shared_clearml_server: ClearMLServer, tmp_path: Path):
    conf = shared_clearml_server.root / "clearml.conf"
    home = tmp_path / "home"
    home.mkdir()
    (home / "clearml.conf").write_text(conf.read_text())
    url = shared_clearml_server.url
    done = say(CONNECT, HOME=str(home))
    assert (done.stdout, done.stderr) == (f"connected to {url} {url} {url}\n", "")


def test_a_file_that_is_broken(tmp_path: Path):
    (tmp_path / "clearml.conf").write_text('api { credentials { "secret_key" = "hush-hush-hush')
    done = say(CONNECT, HOME=str(tmp_path))
    assert done.stdout.startswith("ServerError clearml.conf can't be read: ")
    assert "hush" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_the_offline_mode_of_clearml_is_no_server(tmp_path: Path):
    done = say(CONNECT, HOME=str(tmp_path), CLEARML_OFFLINE_MODE="1")
    expected = "ServerError CLEARML_OFFLINE_MODE is set: there is no server\nUnset it.\n"
    assert (done.stdout, done.stderr) == (expected, "")


def test_wrong_credentials(shared_clearml_server: ClearMLServer, monkeypatch):
    for name, value in shared_clearml_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "a-wrong-one-0123456789")
    with pytest.raises(ServerRefused, match="refuses the credentials: Unauthorized") as caught:
        Server.connect()
    assert caught.value.code == 401
    assert caught.value.hint == (
        "Check api.credentials in clearml.conf, or CLEARML_API_ACCESS_KEY and _SECRET_KEY."
    )
    assert "a-wrong-one" not in str(caught.value)


def test_credentials_that_the_server_echoes_are_masked(wild: Wild, monkeypatch):
    said = f"no user has {ACCESS_KEY} and {SECRET_KEY}\x1b[31m\n" + "x" * 1000
    wild.answers["*auth.login"] = meaning({}, 401, 22, said)
    with pytest.raises(ServerRefused) as caught:
        connected(wild, monkeypatch)
    assert "no user has *** and ***" in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()
    del wild.answers["*auth.login"]
    wild.answers["*tasks.get_all"] = meaning({}, 403, 1, said)
    with pytest.raises(ServerRefused, match=r"no user has \*\*\* and \*\*\*"):
        connected(wild, monkeypatch).call("tasks.get_all")


def test_credentials_in_the_address_are_not_said(wild: Wild, monkeypatch):
    inside = wild.url.replace("http://", "http://ada:hush-hush@")
    monkeypatch.setattr(Wild, "environment", wild.environment | {"CLEARML_API_HOST": inside})
    server = connected(wild, monkeypatch)
    assert server.host == wild.url
    wild.answers["*"] = plain(b"", status=502)
    with pytest.raises(ServerUnreachable) as caught:
        server.call("tasks.get_all")
    assert "hush" not in str(caught.value)


# Nothing good comes back


def test_nobody_listens(monkeypatch):
    message = f"^the ClearML server at {DEAD} can't be reached: connection refused$"
    with ending_within(3), pytest.raises(ServerUnreachable, match=message):
        connected(Wild(DEAD), monkeypatch)


def test_a_connection_that_is_closed_without_an_answer(wild: Wild, monkeypatch):
    server = connected(wild, monkeypatch)
    wild.answers["*"] = lambda handler: handler.raw(b"")
    with pytest.raises(ServerUnreachable, match="fails: it closes the connection without an"):
        server.call("tasks.get_all")


def test_a_name_that_does_not_exist(monkeypatch):
    message = "can't be reached: the name no-such-host.invalid is not (known here|resolved in time)"
    with ending_within(8), pytest.raises(ServerUnreachable, match=message):
        connected(Wild("http://no-such-host.invalid:8008"), monkeypatch)


def test_a_server_without_tls_asked_for_it(wild: Wild, monkeypatch):
    """clearml itself tries again for ever."""
    wild.url = wild.url.replace("http://", "https://")
    with ending_within(3), pytest.raises(ServerUnreachable, match=r"no safe connection \(.+\)$"):
        connected(wild, monkeypatch)


@pytest.fixture
def own_tls(tmp_path: Path) -> ssl.SSLContext:
    """A certificate that nobody but its maker trusts."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl here")
    made = [str(tmp_path / name) for name in ("certificate.pem", "key.pem")]
    words = ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-subj", "/CN=localhost", "-out", made[0], "-keyout", made[1]]
    subprocess.run([openssl, *words, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    return context


def test_a_certificate_counts_unless_the_configuration_says_otherwise(own_tls, monkeypatch, capfd):
    with wild_server(own_tls) as wild:
        message = r"no safe connection \(self.signed certificate\)$"
        with pytest.raises(ServerUnreachable, match=message):
            connected(wild, monkeypatch)
        assert wild.told == []
        monkeypatch.setenv("CLEARML_API_HOST_VERIFY_CERT", "false")
        assert connected(wild, monkeypatch).call("tasks.get_all") == {}
    assert capfd.readouterr() == ("", "")


FAULTS = {
    "hang": ({"kind": "hang"}, "did not answer within 0.6 s"),
    "drop": ({"kind": "drop"}, "the connection without an answer"),
    "error": ({"kind": "error"}, "fails: it answers 500: General data error"),
    "maintenance": ({"kind": "error", "status": 503}, "it answers 503"),
    "garbage": ({"kind": "garbage"}, "answers, but not as a ClearML server does"),
    "redirect": ({"kind": "redirect", "to": DEAD}, " redirects to "),
    "huge": ({"kind": "huge"}, " sends more than 67 MB"),
    "trickle": ({"kind": "trickle", "seconds": 0.05}, "did not answer within 0.6 s"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("phase", ["login", "call"])
def test_every_fault_ends_in_time(name: str, phase: str, clearml_fault, monkeypatch):
    options, words = FAULTS[name]
    if phase == "call":
        server = connected(clearml_fault, monkeypatch)

    def attempt(limit: float) -> None:
        if phase == "login":
            connected(clearml_fault, monkeypatch, deadline=limit)
        else:
            server.call("tasks.get_all", deadline=limit)

    clearml_fault.fault(**options)
    limit = 5.0 if name == "huge" else 0.6  # 64 MB are read first
    with ending_within(limit + 1), pytest.raises(ServerUnreachable) as caught:
        attempt(limit)
    assert words in str(caught.value)
    clearml_fault.heal()
    assert connected(clearml_fault, monkeypatch).call("tasks.get_all")["tasks"] == []


@pytest.fixture(scope="module")
def _fault_server(tmp_path_factory):
    made = ClearMLServer(tmp_path_factory.mktemp("faults"))
    yield made
    made.stop()


@pytest.fixture
def clearml_fault(_fault_server: ClearMLServer):
    """A server of this file's, healed after each test."""
    yield _fault_server
    _fault_server.heal()


def test_a_stopped_server_that_comes_back(clearml_server: ClearMLServer, monkeypatch):
    server = connected(clearml_server, monkeypatch)
    clearml_server.stop()
    with ending_within(3), pytest.raises(ServerUnreachable):
        server.call("tasks.get_all")
    clearml_server.start()
    assert server.call("tasks.get_all") == {"tasks": []}


SHAPES = {
    "a list": b"[]",
    "null": b"null",
    "no meta": b'{"data": {}}',
    "no data": b'{"meta": {"result_code": 200}}',
    "data of another kind": b'{"meta": {"result_code": 200}, "data": [1]}',
    "a code of another kind": b'{"meta": {"result_code": {}}, "data": {}}',
    "a code that is none": b'{"meta": {"result_code": 299}, "data": {}}',
    "too deep": b"[" * 200_000,
    "a number of a million digits": b'{"meta": {"result_code": ' + b"1" * 1_000_000 + b"}}",
    "nothing": b"",
    "not text": bytes(range(256)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_of_any_shape(shape: str, wild: Wild, monkeypatch):
    server = connected(wild, monkeypatch)
    wild.answers["*"] = plain(SHAPES[shape])
    message = "answers, but not as a ClearML server does$"
    with pytest.raises(ServerUnreachable, match=message):
        server.call("tasks.get_all")
    with pytest.raises(ServerUnreachable, match=message):
        connected(wild, monkeypatch)


TOKENS = ["", "x", "a.b.c", 7, None, {"a": 1}, "eyJhbGciOiJub25lIn0.W10."]


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_of_any_shape(token, wild: Wild, monkeypatch):
    wild.answers["*auth.login"] = meaning({"token": token})
    wild.answers["*tasks.get_all"] = meaning({}, 401, 30, "no")
    with ending_within(5), pytest.raises(ServerError):
        connected(wild, monkeypatch).call("tasks.get_all")


def test_nothing_is_printed_or_logged(wild: Wild, monkeypatch, capfd, caplog):
    server = connected(wild, monkeypatch)
    wild.answers["*"] = plain(b"", status=503)
    for attempt in (lambda: server.call("tasks.get_all"), Server.connect):
        with pytest.raises(ServerUnreachable):
            attempt()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_too_many_requests_is_no_refusal(wild: Wild, monkeypatch):
    server = connected(wild, monkeypatch)
    wild.answers["*"] = plain(b"slow down", status=429)
    with pytest.raises(ServerUnreachable, match=r"it answers 429$"):
        server.call("tasks.get_all")


def test_a_deadline_holds_for_all_batches_together(wild: Wild, monkeypatch):
    server = connected(wild, monkeypatch)

    def slow(handler) -> None:
        time.sleep(0.3)
        meaning({"added": 1, "errors": 0})(handler)

    wild.answers["*add_batch"] = slow
    events = [{"msg": "x" * 1_500_000} for _ in range(10)]
    with ending_within(2), pytest.raises(ServerUnreachable, match=r"did not answer within 0\.8 s"):
        server.add_events(events, deadline=0.8)
    assert 2 <= sum("add_batch" in path for path in wild.paths()) <= 4


@pytest.mark.parametrize(
    "answer",
    [silence, endless(b"HTTP/1.1 100 Continue\r\n\r\n"), endless(b"x"), endless(b"\r\n", 0.01)],
    ids=["silence", "for ever 100", "no line end", "trickled lines"],
)
def test_a_head_that_never_ends(answer, wild: Wild, monkeypatch):
    server = connected(wild, monkeypatch)
    wild.answers["*"] = answer
    with ending_within(2), pytest.raises(ServerUnreachable):
        server.call("tasks.get_all", deadline=0.5)


# What clearml has inside, and this relies on


def test_clearml_makes_its_sessions_of_the_class_that_is_put_in_its_place(wild: Wild, monkeypatch):
    from clearml.backend_api.session.session import Session

    from torch_lab.mirror.guarded import Guarded

    connected(wild, monkeypatch)
    made = Session()
    assert isinstance(made._Session__http_session, Guarded)
    for adapter in made._Session__http_session.adapters.values():
        assert adapter.max_retries.total == 0


def test_clearml_stores_files_with_the_session_that_is_given(wild: Wild, monkeypatch):
    from clearml.backend_interface.base import InterfaceBase

    server = connected(wild, monkeypatch)
    assert InterfaceBase._get_default_session() is server._session


def test_the_vault_is_not_read(wild: Wild, monkeypatch):
    """It could set variables of this process and write files of this machine."""
    vault = json.dumps({"sdk": {"apply_files": True}, "files": {"x": {"path": "/tmp/x"}}})
    wild.answers["*get_vaults*"] = meaning({"vaults": [{"data": vault}]})
    connected(wild, monkeypatch)
    assert not [path for path in wild.paths() if "vault" in path]
