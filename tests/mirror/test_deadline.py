"""Deadlines end what runs inside them, whatever it catches."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from helpers import wait_for
from torch_lab.errors import ServerUnreachable
from torch_lab.mirror.deadline import deadline, remaining


@contextlib.contextmanager
def ending_within(seconds: float):
    """A busy machine may add to it; what is not bounded lasts longer still."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds + 20


def test_a_block_in_time_is_left_alone():
    with deadline(5):
        assert 4 < remaining() <= 5
    assert remaining() is None
    assert signal.getsignal(signal.SIGALRM) is not None


def test_a_loop_that_catches_everything_is_ended():
    def stubborn():
        for _ in range(3):
            try:
                while True:
                    time.sleep(0.01)
            except:  # noqa: E722, S110  as clearml does
                pass
        while True:
            pass

    message = r"^the file server did not answer within 0\.2 s$"
    with (
        ending_within(2),
        pytest.raises(ServerUnreachable, match=message),
        deadline(0.2, "the file server"),
    ):
        stubborn()


def test_a_read_that_never_returns_is_ended():
    here, there = socket.socketpair()
    with here, there, ending_within(2), pytest.raises(ServerUnreachable), deadline(0.2):
        here.recv(1)


def test_an_inner_block_lasts_no_longer_than_the_outer_one():
    def call():
        try:
            with deadline(60, "the call"):
                time.sleep(60)
        except ServerUnreachable:
            pytest.fail("the outer deadline belongs to the outer block")

    message = r"^the run did not answer within 0\.2 s$"
    with (
        ending_within(2),
        pytest.raises(ServerUnreachable, match=message),
        deadline(0.2, "the run"),
    ):
        call()


def test_an_outer_block_goes_on_after_an_inner_one_ended():
    with deadline(5):
        for _ in range(3):
            with pytest.raises(ServerUnreachable), deadline(0.05):
                time.sleep(60)
        assert 3 < remaining() < 5


def test_any_number_of_seconds():
    with deadline(1e15), deadline(1e300):
        assert remaining() > 3600


def test_other_exceptions_pass_unchanged():
    with pytest.raises(KeyError, match="mine"), deadline(5):
        raise KeyError("mine")
    assert remaining() is None


def test_a_timer_of_somebody_else_goes_on_afterwards():
    rung = []
    handler = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    timer = signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with deadline(5):
            time.sleep(0.05)
        assert not rung
        wait_for(lambda: rung == [1])
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_whenever_it_rings_nothing_else_comes_out():
    """Blocks that end just when their time is up, nested, thousands of times."""
    rng = random.Random(0)
    ended = 0
    for _ in range(1500):
        try:
            with (
                deadline(rng.uniform(0.0002, 0.002)),
                contextlib.suppress(ServerUnreachable),
                deadline(rng.uniform(0.0002, 0.002)),
            ):
                time.sleep(rng.uniform(0, 0.002))
        except ServerUnreachable:
            ended += 1
    assert ended
    assert remaining() is None


def test_only_the_main_thread_can_have_one():
    caught = []

    def attempt():
        try:
            with deadline(1):
                pass
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert caught
    assert remaining() is None


def test_files_are_removed_on_the_way_out(tmp_path: Path):
    from torch_lab.utils.files import open_atomic

    def write(file):
        file.write(b"half")
        time.sleep(60)

    with pytest.raises(ServerUnreachable), deadline(0.1), open_atomic(tmp_path / "a") as file:
        write(file)
    assert list(tmp_path.iterdir()) == []
