"""When a signal acts: at once, at a boundary, or after books were opened or closed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from torch_lab.engine.stop import StopRequest
from torch_lab.errors import Stopped


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_at_once(signum: int) -> None:
    before = signal.getsignal(signum)
    with StopRequest().listening(), pytest.raises(Stopped) as caught:
        send(signum)
    assert caught.value.signum == signum
    assert signal.getsignal(signum) is before


def test_at_a_boundary_and_the_second_time_at_once(tmp_path: Path) -> None:
    stop = StopRequest(30, tmp_path / "console.log")
    with stop.listening():
        stop.deferring = True
        send(signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
        with pytest.raises(Stopped):
            send(signal.SIGTERM)


def test_held_until_it_is_released(tmp_path: Path) -> None:
    stop = StopRequest(30, tmp_path / "console.log")
    with stop.listening():
        stop.hold()
        send(signal.SIGTERM)
        send(signal.SIGINT)  # a hasty second one as well
        with pytest.raises(Stopped) as caught:
            stop.release()
    assert caught.value.signum == signal.SIGTERM


def test_released_without_a_signal() -> None:
    stop = StopRequest()
    stop.hold()
    stop.release()


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = StopRequest()
        with stop.listening():
            stop.take_back()
            send(signal.SIGHUP)
        assert stop.signum is None
    finally:
        signal.signal(signal.SIGHUP, before)
