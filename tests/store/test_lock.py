from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_helpers import age, dead_pid, everything_in, new_run, python, write_holder, write_record

from helpers import wait_for
from torch_lab.errors import LockLost, RunLocked, StoreError
from torch_lab.store import heartbeat, host, record
from torch_lab.store.heartbeat import Heartbeat, silence
from torch_lab.store.host import Liveness, this_process
from torch_lab.store.lock import Lock, holder_of
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record, RecordWriter


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return new_run(tmp_path)


def test_lock_says_who_holds_it(run: RunDirectory) -> None:
    lock = Lock.acquire(run, lost_after=60)
    content = json.loads(run.lock.read_text())
    assert content["format"] == 1
    assert (content["token"], content["generation"]) == (lock.token, 1)
    assert content["pid"] == os.getpid()
    assert content["host"] == host.hostname()
    assert content["boot_id"]
    assert content["started"]
    assert run.heartbeat.exists()
    lock.check()


def test_release_frees_the_run(run: RunDirectory) -> None:
    first = Lock.acquire(run, lost_after=60)
    first.release()
    first.release()
    assert not run.lock.exists()
    assert Lock.acquire(run, lost_after=60).token != first.token


def test_live_holder_keeps_its_lock(run: RunDirectory) -> None:
    Lock.acquire(run, lost_after=60)
    age(run.heartbeat, 1000)
    age(run.lock, 1000)
    with pytest.raises(RunLocked, match=f"process {os.getpid()} on "):
        Lock.acquire(run, lost_after=0.1)


@pytest.mark.parametrize("change", ["pid is gone", "pid was given to another process"])
def test_dead_holder_on_this_host_is_taken_over_at_once(run: RunDirectory, change: str) -> None:
    gone = change == "pid is gone"
    write_holder(run, 4, **({"pid": dead_pid()} if gone else {"started": "1"}))
    begin = time.monotonic()
    lock = Lock.acquire(run, lost_after=60)
    assert time.monotonic() - begin < 30
    assert lock.generation == 5
    lock.check()
    assert everything_in(run.path) == ["heartbeat", "lock"]


def test_zombie_is_dead(run: RunDirectory) -> None:
    process = python("")
    write_holder(run, pid=process.pid, started=host.process_start(process.pid))
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Lock.acquire(run, lost_after=60).generation == 2
    process.communicate()


def test_restarted_machine_needs_only_a_short_silence(run: RunDirectory) -> None:
    write_holder(run, boot_id="before")
    age(run.lock, 20)
    assert Lock.acquire(run, lost_after=60).generation == 2


def test_namesake_machine_that_lives_keeps_its_lock(run: RunDirectory) -> None:
    write_holder(run, boot_id="another machine of this name")
    with beating(run), pytest.raises(RunLocked):
        Lock.acquire(run, lost_after=60)


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"pid_namespace": "a container"}])
def test_unseen_holder_is_taken_over_after_silence(
    run: RunDirectory, change: dict[str, str]
) -> None:
    write_holder(run, **change)
    run.heartbeat.touch()
    messages: list[str] = []
    begin = time.monotonic()
    lock = Lock.acquire(run, lost_after=0.6, on_wait=messages.append)
    assert 0.3 < time.monotonic() - begin < 30
    assert lock.generation == 2
    assert len(messages) == 1
    assert "Waiting" in messages[0]


def test_unseen_holder_that_was_silent_long_enough(run: RunDirectory) -> None:
    write_holder(run, host="elsewhere")
    run.heartbeat.touch()
    age(run.lock, 100)
    age(run.heartbeat, 61)
    assert Lock.acquire(run, lost_after=60).generation == 2


def test_unseen_holder_that_beats_keeps_its_lock(run: RunDirectory) -> None:
    write_holder(run, host="elsewhere")
    with beating(run), pytest.raises(RunLocked, match="on elsewhere"):
        Lock.acquire(run, lost_after=60)


def test_unseen_holder_that_lets_go(run: RunDirectory) -> None:
    write_holder(run, host="elsewhere")
    threading.Timer(0.3, run.lock.unlink).start()
    assert Lock.acquire(run, lost_after=60).generation == 1


def test_clock_of_this_machine_does_not_count(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.heartbeat.touch()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert silence(run.heartbeat) < 5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"token": "x"}', b"\xff\0"])
def test_half_written_lock_is_taken_over_when_it_stays_so(
    run: RunDirectory, content: bytes
) -> None:
    run.lock.write_bytes(content)
    assert Lock.acquire(run, lost_after=0.2).generation == 2


def test_locks_where_there_are_no_hard_links(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    lock = Lock.acquire(run, lost_after=60)
    with pytest.raises(RunLocked):
        Lock.acquire(run, lost_after=60)
    lock.release()
    write_holder(run, pid=dead_pid())
    assert Lock.acquire(run, lost_after=60).generation == 2
    assert everything_in(run.path) == ["heartbeat", "lock"]


def test_a_link_that_was_made_although_the_server_says_no(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost, and the question repeated."""
    really = os.link

    def twice(*paths: str, **more: bool) -> None:
        really(*paths, **more)
        really(*paths, **more)

    monkeypatch.setattr(os, "link", twice)
    Lock.acquire(run, lost_after=60).check()
    assert everything_in(run.path) == ["heartbeat", "lock"]


def test_rival_that_died_while_taking_over(run: RunDirectory) -> None:
    dead = write_holder(run, 1, pid=dead_pid())
    (run.path / "lock.2").write_bytes(dead.content())
    assert Lock.acquire(run, lost_after=60).generation == 3
    assert everything_in(run.path) == ["heartbeat", "lock"]


def test_rival_that_is_taking_over_right_now(run: RunDirectory) -> None:
    write_holder(run, 1, pid=dead_pid())
    (run.path / "lock.2").touch()
    with pytest.raises(RunLocked, match="is alive: a process that is just starting writes to it"):
        Lock.acquire(run, lost_after=60)


def test_check_finds_out_that_the_lock_is_lost(run: RunDirectory) -> None:
    lock = Lock.acquire(run, lost_after=60)
    other = write_holder(run, 2, host="elsewhere")
    with pytest.raises(LockLost, match="on elsewhere took it over"):
        lock.check()
    lock.release()
    assert holder_of(run) == other


def test_check_finds_out_that_the_lock_is_gone(run: RunDirectory) -> None:
    lock = Lock.acquire(run, lost_after=60)
    run.lock.unlink()
    with pytest.raises(LockLost, match="its lock is gone") as error:
        lock.check()
    assert error.value.hint == (
        "Another process has taken it over and ended, or somebody deletes the run."
        " This process stops without writing."
    )


def test_check_finds_out_that_the_run_is_gone(run: RunDirectory, tmp_path: Path) -> None:
    lock = Lock.acquire(run, lost_after=60)
    run.path.rename(tmp_path / "elsewhere")
    with pytest.raises(LockLost, match=r"run directory .*_v0 is gone: it was deleted or moved"):
        lock.check()


def test_holding_is_free_while_the_heart_beats(run: RunDirectory) -> None:
    lock = Lock.acquire(run, lost_after=60)
    with lock.beating(60):
        run.lock.write_text("another's")
        begin = time.perf_counter()
        for _ in range(1000):
            lock.hold()  # nobody can have taken it yet
        assert (time.perf_counter() - begin) / 1000 < 20e-6
    with pytest.raises(LockLost):
        lock.check()


def test_holding_looks_when_no_beat_was_seen(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lock.acquire(run, lost_after=60)
    with lock.beating(60):
        other = write_holder(run, 2, host="elsewhere")
        assert lock.is_held()
        later = heartbeat.now() + 11
        monkeypatch.setattr("torch_lab.store.lock.now", lambda: later)
        with pytest.raises(LockLost, match="on elsewhere took it over"):
            lock.hold()
        assert not lock.is_held()
        run.lock.write_bytes(lock.holder.content())
        lock.hold()
        run.lock.unlink()
        run.lock.mkdir()  # it can't be read: that says nothing
        lock.hold()
        run.lock.rmdir()
    assert other.process.host == "elsewhere"


@pytest.mark.parametrize(("lost_after", "lease"), [(60.0, 10.0), (2.0, 1.0)])
def test_beats_are_as_often_as_those_who_wait_need(
    run: RunDirectory, lost_after: float, lease: float
) -> None:
    lock = Lock.acquire(run, lost_after=lost_after)
    age(run.heartbeat, 1000)
    with lock.beating(lost_after):
        assert lock._lease == lease  # of two beats
        wait_for(lambda: silence(run.heartbeat) < 500)


def test_check_is_cheap(run: RunDirectory) -> None:
    lock = Lock.acquire(run, lost_after=60)
    begin = time.perf_counter()
    for _ in range(200):
        lock.check()
    assert (time.perf_counter() - begin) / 200 < 1e-3


def test_locking_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't lock the run"):
        Lock.acquire(RunDirectory(tmp_path / "no such run"), lost_after=60)


TAKERS = """
import sys, time
from pathlib import Path
from torch_lab.errors import RunLocked
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for number in range(rounds):
    while not (folder / f"go-{number}").exists():
        time.sleep(0.0002)
    try:
        lock = Lock.acquire(RunDirectory(folder / f"run-{number}"), lost_after=60)
        lock.check()
        print("won", lock.generation)
    except RunLocked:
        print("lost")
    sys.stdout.flush()
sys.stdin.read()
"""


def test_of_many_that_take_over_at_once_one_wins(tmp_path: Path) -> None:
    rounds, dead = 15, dead_pid()
    for number in range(rounds):
        run = RunDirectory(tmp_path / f"run-{number}")
        run.path.mkdir()
        write_holder(run, 1, pid=dead)
        if number % 3 == 2:
            (run.path / "lock.2").write_bytes(run.lock.read_bytes())
    takers = [python(TAKERS, tmp_path, rounds) for _ in range(4)]
    for taker in takers:
        assert taker.stdout
        assert taker.stdout.readline() == "ready\n"
    for number in range(rounds):
        (tmp_path / f"go-{number}").touch()
        answers = sorted(taker.stdout.readline().strip() for taker in takers if taker.stdout)
        expected = 3 if number % 3 == 2 else 2
        assert answers == ["lost"] * 3 + [f"won {expected}"]
    for taker in takers:
        taker.communicate()


HOLDER_ELSEWHERE = """
import sys
from pathlib import Path
from torch_lab.errors import LockLost
from torch_lab.store import host
host.hostname = lambda: "elsewhere"
from torch_lab.store.lock import Heartbeat, Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record, RecordWriter
run = RunDirectory(Path(sys.argv[1]))
lock = Lock.acquire(run, lost_after=60)
Heartbeat(run, lock.check, interval=0.1).start()
writer = RecordWriter(run, lock, Record(run.name, "0" * 32, "running"))
for line in sys.stdin:
    try:
        writer.update(reason="written by the first")
        print("written", flush=True)
    except LockLost as error:
        print("lost", str(error).replace(chr(10), " "), flush=True)
"""


@pytest.fixture
def elsewhere(run: RunDirectory) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the run's lock, as if on another machine, and writes when told."""
    with python(HOLDER_ELSEWHERE, run.path) as process:
        yield process
        process.kill()


def ask_to_write(process: subprocess.Popen[str]) -> str:
    assert process.stdin
    assert process.stdout
    print("write", file=process.stdin, flush=True)
    return process.stdout.readline()


def test_stopped_holder_that_wakes_up_does_not_write(
    run: RunDirectory, elsewhere: subprocess.Popen[str]
) -> None:
    assert ask_to_write(elsewhere) == "written\n"
    with pytest.raises(RunLocked):
        Lock.acquire(run, lost_after=60)
    elsewhere.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, elsewhere.pid, os.WSTOPPED)
    lock = Lock.acquire(run, lost_after=0.5)
    RecordWriter(run, lock, Record(run.name, "0" * 32, "running", reason="the second")).update()
    elsewhere.send_signal(signal.SIGCONT)
    said = ask_to_write(elsewhere)
    assert said.startswith("lost run 00_digits-hparams_v0 isn't this process's any more: process ")
    assert said.endswith("This process was silent for too long, and stops without writing.\n")
    assert record.read(run).reason == "the second"
    # Nor does its heart beat for its successor.
    run.heartbeat.unlink()
    time.sleep(0.3)
    assert not run.heartbeat.exists()


def test_heartbeat_beats_until_it_is_stopped(run: RunDirectory) -> None:
    heartbeat = Heartbeat(run, interval=0.02)
    heartbeat.start()
    age(run.heartbeat, 100)
    wait_for(lambda: silence(run.heartbeat) < 50)
    heartbeat.stop()
    heartbeat.stop()
    age(run.heartbeat, 100)
    time.sleep(0.1)
    assert silence(run.heartbeat) > 50


def test_heartbeat_survives_a_missed_beat(run: RunDirectory) -> None:
    heartbeat = Heartbeat(run, interval=0.02)
    run.heartbeat.mkdir()
    heartbeat.start()
    run.heartbeat.rmdir()
    deadline = time.monotonic() + 5
    while not run.heartbeat.is_file():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    heartbeat.stop()


def test_heartbeat_survives_a_lock_that_cannot_be_read_for_a_while(run: RunDirectory) -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise StoreError("the server is away")
        if len(asked) == 4:
            raise LockLost("another has it")

    heart = Heartbeat(run, check, interval=0.01)
    heart.start()
    wait_for(lambda: len(asked) == 4)
    assert heart._thread is not None
    heart._thread.join(10)
    assert not heart._thread.is_alive()
    heart.stop()


def test_suspended_process_is_said_to_be(run: RunDirectory) -> None:
    with python("input()") as process:
        try:
            started = host.process_start(process.pid)
            holder = write_holder(run, pid=process.pid, started=started)
            assert not holder.process.is_suspended()
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            with pytest.raises(RunLocked, match="and is suspended") as error:
                Lock.acquire(run, lost_after=0.1)
            assert f"(kill -CONT {process.pid}, or fg), or end it first (kill -KILL" in str(
                error.value
            )
        finally:
            process.kill()


def test_status_of_a_run(run: RunDirectory) -> None:
    written = write_record(run, status="running")
    assert record.status(run, written, 60) == "lost"  # nobody holds it
    lock = Lock.acquire(run, lost_after=60)
    assert record.status(run, written, 60) == "running"
    lock.release()
    write_holder(run, pid=dead_pid())
    assert record.status(run, written, 60) == "lost"
    write_holder(run, host="elsewhere")
    assert record.status(run, written, 60) == "running"
    age(run.lock, 100)
    age(run.heartbeat, 100)
    assert record.status(run, written, 60) == "lost"


def test_run_that_ended_meanwhile_is_not_lost(run: RunDirectory) -> None:
    before = write_record(run, status="running")
    write_record(run, status="completed")
    assert record.status(run, before, 60) == "completed"


def test_liveness_of_this_process() -> None:
    assert this_process().liveness() is Liveness.ALIVE


class beating:
    """A heartbeat from elsewhere, for the time of a block."""

    def __init__(self, run: RunDirectory) -> None:
        self._heartbeat = Heartbeat(run, interval=0.05)

    def __enter__(self) -> None:
        self._heartbeat.start()

    def __exit__(self, *_: object) -> None:
        self._heartbeat.stop()
