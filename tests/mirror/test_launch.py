"""Of a training's sender what the training sees: its lock, what it says, and that it may die.

The test itself plays the sender: it holds the lock and writes the files that a sender writes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import environment, wait_for
from script_helpers import write
from torch_lab.mirror import delivery, launch, senders, state
from torch_lab.mirror.delivery import Wait
from torch_lab.mirror.launch import Watch
from torch_lab.mirror.senders import State
from torch_lab.mirror.state import Mirror
from torch_lab.settings import Settings
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory

ENDED = 1750000060.25
PAGE = "http://web/projects/p/experiments/t/output/log"
AWAY = "the ClearML server at http://127.0.0.1:1 refuses connections"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "TICK", 0.01)
    monkeypatch.setattr(launch, "PAUSE", 0.02)
    monkeypatch.setattr(launch, "AGAIN", (0.1, 0.3))
    monkeypatch.setattr(delivery, "HOPE", 0.2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, tmp_path / "artifacts")


@pytest.fixture
def run(settings: Settings) -> RunDirectory:
    made = RunDirectory(settings.artifacts / "00_a-hparams_v3")
    made.path.mkdir(parents=True)
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watch(settings: Settings, said: list[str]) -> Iterator[Watch]:
    made = Watch(settings, said.append)
    yield made
    made.end()


@contextmanager
def sender(settings: Settings, watch: Watch | None = None) -> Iterator[None]:
    """This process is the sender; a watch ends before it does, or would start a real one."""
    place = senders.home(settings.artifacts)
    place.path.mkdir(parents=True)
    lock = Lock.acquire(place, lost_after=1)
    try:
        yield
    finally:
        if watch is not None:
            watch.end()
        lock.release()


def says(settings: Settings, kind: str, problem: str | None = None) -> None:
    senders.write_state(settings.artifacts, State(kind, problem, time.time(), pid=os.getpid()))


# -- whether there is one at all -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("offline", "setting", "variables", "wanted"),
    [
        (False, False, {}, False),
        (False, False, {"CLEARML_API_HOST": "http://server"}, True),
        (False, False, {"TRAINS_API_HOST": "http://server"}, True),
        (False, False, {"CLEARML_API_HOST": ""}, False),
        (True, False, {"CLEARML_API_HOST": "http://server"}, False),
        (False, True, {"CLEARML_API_HOST": "http://server"}, False),
        (False, False, {"CLEARML_API_HOST": "x", "CLEARML_OFFLINE_MODE": "1"}, False),
        (False, False, {"CLEARML_API_HOST": "x", "CLEARML_OFFLINE_MODE": "0"}, True),
    ],
)
def test_wanted(settings, monkeypatch, tmp_path, offline, setting, variables, wanted):
    _no_server(monkeypatch, tmp_path)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    chosen = Settings(settings.root, settings.artifacts, offline=setting)
    assert launch.wanted(chosen, offline=offline) is wanted


@pytest.mark.parametrize("name", ["clearml.conf", "trains.conf"])
def test_a_configuration_file_is_a_server(settings, monkeypatch, tmp_path, name):
    _no_server(monkeypatch, tmp_path)
    assert not launch.wanted(settings, offline=False)
    (tmp_path / name).write_text("api {}")
    assert launch.wanted(settings, offline=False)


def _no_server(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("CLEARML_", "TRAINS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))


# -- what it says --------------------------------------------------------------------------------


def test_the_page_is_told_once(settings, run, watch, said):
    with sender(settings, watch):
        says(settings, "connecting")
        watch.follow(run)
        watch.start()
        says(settings, "connected")
        state.write(run, Mirror(task_id="t"))
        state.write(run, Mirror(task_id="t", page=PAGE))
        wait_for(lambda: said)
        says(settings, "unreachable", AWAY)
        wait_for(lambda: len(said) == 2)
        says(settings, "connected")
        state.write(run, Mirror(task_id="t", page=f"{PAGE}2"))
        says(settings, "refused", "no")
        time.sleep(0.1)
    assert said == [
        f"ClearML: {PAGE}",
        f"warning: nothing more is sent to ClearML for now: {AWAY};"
        " the run goes on, and the rest is sent later",
    ]


def test_nothing_was_sent_when_the_server_is_away_from_the_start(settings, run, watch, said):
    with sender(settings, watch):
        says(settings, "unreachable", AWAY)
        state.write(run, Mirror())
        watch.follow(run)
        watch.start()
        wait_for(lambda: said)
    assert said == [
        f"warning: nothing is sent to ClearML: {AWAY};"
        " this run is recorded locally, and sent later",
    ]


def test_what_another_sender_said_long_ago_is_no_news(settings, watch):
    place = senders.home(settings.artifacts)
    place.path.mkdir(parents=True)
    says(settings, "unreachable", AWAY)
    assert watch.news() == State()
    with_lock = Lock.acquire(place, lost_after=1)
    assert watch.news().problem == AWAY
    senders.write_state(settings.artifacts, State("unreachable", AWAY, pid=1))
    assert watch.news() == State()
    with_lock.release()


NONSENSE = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[1]",
    b"null",
    b'{"state": "connected"',
    b'{"state": ["connected"], "pid": "x", "problem": 3, "since": "now"}',
    b"[" * 100_000,
    b'{"state": "' + b"x" * 10_000_000 + b'"}',
]


@pytest.mark.parametrize("content", NONSENSE, ids=lambda content: str(content[:20]))
def test_nonsense_is_as_good_as_nothing(settings, run, watch, said, content):
    with sender(settings, watch):
        (senders.home(settings.artifacts).path / "state.json").write_bytes(content)
        run.mirror_file.write_bytes(content)
        watch.follow(run)
        watch.start()
        time.sleep(0.05)
        assert watch.news() == State()
        assert said == []
        # … and the watch goes on when sense comes.
        says(settings, "unreachable", AWAY)
        wait_for(lambda: said)


def test_what_is_shown_moves_no_cursor(settings, watch, said):
    with sender(settings, watch):
        says(settings, "refused", "\x1b[2Jgone\r\nHTTP" + "x" * 5000)
        watch.start()
        wait_for(lambda: said)
    assert said[0].startswith("warning: nothing is sent to ClearML: [2Jgone HTTPxxx")
    assert said[0].isprintable()
    assert len(said[0]) < 400


# -- that it may die -----------------------------------------------------------------------------


def test_one_that_can_not_be_started_is_said_once(settings, watch, said):
    settings.artifacts.mkdir()
    (settings.artifacts / ".senders").write_text("in the way")
    watch.start()
    wait_for(lambda: watch.failed)
    time.sleep(0.5)
    assert len(said) == 1
    assert said[0].startswith(
        "warning: nothing is sent to ClearML: the sender ends at once ([Errno 20] Not a"
    )


def test_one_that_dies_at_once_is_started_again_and_said_once(settings, watch, said, monkeypatch):
    _dying(monkeypatch, settings.root, "import os; os._exit(3)")
    watch.start()
    wait_for(lambda: (settings.root / "starts").read_text() > "xx")
    wait_for(lambda: said)
    log = senders.log_file(settings.artifacts)
    assert said[0].startswith(
        "warning: nothing is sent to ClearML: the sender ends at once (exit status 3, see"
    )
    assert str(log) in said[0]
    assert "this goes to the log" in log.read_text()


def test_it_holds_nothing_of_the_command_that_starts_it(settings, tmp_path):
    """No stream, no group, and no process that the command would wait for."""
    asleep = write(tmp_path / "site" / "sitecustomize.py", "import time; time.sleep(60)").parent
    code = """
        import os, sys
        from pathlib import Path
        from torch_lab.mirror.launch import spawn
        from torch_lab.settings import Settings
        os.environ["PYTHONPATH"] = sys.argv[1]
        print(spawn(Settings(Path(sys.argv[2]), Path(sys.argv[3]))).pid)
    """
    words = [asleep, settings.root, settings.artifacts]
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    env = environment()
    done = subprocess.run(command, env=env, capture_output=True, timeout=50, check=True)
    sender = int(done.stdout)
    try:
        assert os.getsid(sender) == os.getpgid(sender) == sender
    finally:
        os.kill(sender, signal.SIGKILL)


def test_the_last_try_is_at_the_end(settings, watch, monkeypatch):
    monkeypatch.setattr(launch, "AGAIN", (60.0, 60.0))
    _dying(monkeypatch, settings.root, "import os; os._exit(0)")
    watch.start()
    starts = settings.root / "starts"
    wait_for(lambda: starts.exists() and starts.read_text() == "x")
    time.sleep(0.1)
    assert starts.read_text() == "x"
    watch.hurry()
    wait_for(lambda: starts.read_text() == "xx")


def _dying(monkeypatch: pytest.MonkeyPatch, folder: Path, how: str) -> None:
    """Python processes that are started from now on count themselves and die."""
    place = folder / "site"
    place.mkdir()
    count = f"open({str(folder / 'starts')!r}, 'a').write('x')"
    text = f"{count}\nprint('this goes to the log', flush=True)\n{how}\n"
    (place / "sitecustomize.py").write_text(text)
    (folder / "starts").touch()
    monkeypatch.setenv("PYTHONPATH", str(place))


# -- the wait at the end -------------------------------------------------------------------------


@pytest.fixture
def wait(run: RunDirectory, watch: Watch) -> Wait:
    return Wait(run, ENDED, watch, lambda text: None)


def test_what_is_sent_is_said_with_its_page(settings, run, wait):
    with sender(settings):
        says(settings, "connected")
        state.write(run, Mirror(page=PAGE, done=True, ended=ENDED))
        assert wait.result(60) == f"sent to ClearML: {PAGE}"


def test_what_an_earlier_end_had_is_not_all(settings, run, wait):
    with sender(settings):
        says(settings, "connected")
        state.write(run, Mirror(page=PAGE, done=True, ended=ENDED - 100))
        assert wait.result(0.2).startswith("pending for ClearML: the run is still on the way")


def test_the_wait_ends_when_the_rest_has_come(settings, run, watch):
    shown: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        if len(shown) == 1:
            state.write(run, Mirror(left={"checkpoints": 1}))
        else:
            state.write(run, Mirror(page=PAGE, done=True, ended=ENDED))

    with sender(settings):
        says(settings, "connected")
        state.write(run, Mirror(left={"checkpoints": 2, "scalars": 0, "log lines": 15}))
        assert Wait(run, ENDED, watch, show).result(60) == f"sent to ClearML: {PAGE}"
    assert shown == [
        "sending to ClearML: 2 checkpoints, 15 log lines left (Ctrl-C: not to wait for it)",
        "sending to ClearML: 1 checkpoints left (Ctrl-C: not to wait for it)",
    ]


def test_the_wait_is_bounded(settings, run, wait):
    with sender(settings):
        says(settings, "connected")
        state.write(run, Mirror(left={"checkpoints": 2}))
        began = time.monotonic()
        said = wait.result(0.3)
        assert 0.3 <= time.monotonic() - began < 30
    assert said == (
        "pending for ClearML: 2 checkpoints still on the way, in the background;"
        f" `lab sync {run.name}` finishes it"
    )


def test_nobody_waits_long_for_a_server_that_is_away(settings, wait):
    with sender(settings):
        says(settings, "unreachable", AWAY)
        began = time.monotonic()
        assert wait.result(60).startswith(f"pending for ClearML: {AWAY}; `lab sync")
        assert time.monotonic() - began < 30


def test_a_server_that_is_back_is_waited_for(settings, run, wait, monkeypatch):
    monkeypatch.setattr(delivery, "HOPE", 5.0)

    def back() -> None:
        says(settings, "connected")
        time.sleep(0.5)
        state.write(run, Mirror(page=PAGE, done=True, ended=ENDED))

    with sender(settings):
        says(settings, "unreachable", AWAY)
        timer = threading.Timer(0.1, back)
        timer.start()
        assert wait.result(60).startswith("sent")
        timer.join()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_wait_and_nothing_else(settings, run, wait, signum):
    before = signal.getsignal(signum)
    with sender(settings):
        says(settings, "connected")
        state.write(run, Mirror(problem="the files server does not answer"))
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signum))
        timer.start()
        began = time.monotonic()
        assert wait.result(60).startswith("pending for ClearML: the files server does not answer")
        assert time.monotonic() - began < 30
        timer.join()
    assert signal.getsignal(signum) is before
