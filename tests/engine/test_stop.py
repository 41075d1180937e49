"""When a signal acts: at once, at a boundary, or after books were opened or closed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from torch_lab.engine.stop import StopRequest
from torch_lab.errors import Stopped
from torch_lab.utils.overseer import ECHO
from torch_lab.utils.threads import ENDING

Handler = Callable[[int, "FrameType | None"], Any]


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


def later() -> None:
    """Long enough after a signal for the next to be a second one."""
    time.sleep(ECHO + 0.05)


@pytest.fixture
def stop(tmp_path: Path) -> Iterator[StopRequest]:
    """A request that is heard, in training."""
    made = StopRequest(30, tmp_path / "console.log")
    with made.listening():
        made.deferring = True
        yield made


@pytest.fixture
def own() -> Iterator[Handler]:
    """A handler of the experiment's for SIGTERM, installed before; `seen` has what it got."""

    def handler(signum: int, frame: FrameType | None) -> None:
        handler.seen.append(signum)  # type: ignore[attr-defined]

    handler.seen = []  # type: ignore[attr-defined]
    before = signal.signal(signal.SIGTERM, handler)
    yield handler
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("signum", ENDING, ids=lambda each: each.name)
def test_at_once(signum: int) -> None:
    before = signal.getsignal(signum)
    with StopRequest().listening(), pytest.raises(Stopped) as caught:
        send(signum)
    assert caught.value.signum == signum
    assert signal.getsignal(signum) is before


def test_at_a_boundary_and_the_second_time_at_once(
    stop: StopRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    send(signal.SIGTERM)
    assert stop.signum == signal.SIGTERM
    later()
    with pytest.raises(Stopped):
        send(signal.SIGTERM)
    assert capfd.readouterr().err == (
        "\nSIGTERM: finishing this batch, then saving"
        " (at most 30 s; once more ends the run at once)\n"
    )


def test_what_comes_twice_at_the_same_moment_is_one_signal(stop: StopRequest) -> None:
    """As from `timeout`, which tells the process and then its group."""
    send(signal.SIGTERM)
    send(signal.SIGTERM)
    assert stop.signum == signal.SIGTERM


def test_held_until_it_is_released(stop: StopRequest) -> None:
    stop.hold()
    send(signal.SIGTERM)
    later()
    send(signal.SIGINT)  # a hasty second one as well
    with pytest.raises(Stopped) as caught:
        stop.release()
    assert caught.value.signum == signal.SIGTERM


def test_released_without_a_signal() -> None:
    stop = StopRequest()
    stop.hold()
    stop.release()


def test_after_the_last_boundary_it_acts_when_it_is_asked_for(stop: StopRequest) -> None:
    stop.act()
    send(signal.SIGTERM)
    stop.act()
    stop.deferring = False
    with pytest.raises(Stopped):
        stop.act()


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


# -- a validation ----------------------------------------------------------------------------


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_lab.engine.stop._VALIDATION", 0.2)


@pytest.mark.usefixtures("_soon")
def test_a_long_validation_is_given_up(stop: StopRequest) -> None:
    stop.validation_begins()
    send(signal.SIGTERM)
    with pytest.raises(Stopped):
        time.sleep(20)


@pytest.mark.usefixtures("_soon")
def test_one_that_begins_after_the_signal_as_well(stop: StopRequest) -> None:
    send(signal.SIGTERM)
    stop.validation_begins()
    with pytest.raises(Stopped):
        time.sleep(20)


@pytest.mark.usefixtures("_soon")
def test_one_that_ends_in_time_is_not(stop: StopRequest) -> None:
    stop.validation_begins()
    stop.validation_ends()
    send(signal.SIGTERM)
    time.sleep(0.4)
    assert stop.signum == signal.SIGTERM


# -- the experiment's own handlers -----------------------------------------------------------


def test_one_that_was_there_before_runs_too(own: Any) -> None:
    with StopRequest().listening(), pytest.raises(Stopped):
        send(signal.SIGTERM)
    assert own.seen == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is own


def test_one_that_comes_later_runs_too(stop: StopRequest) -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, _: seen.append(signum))
    stop.take_back()
    send(signal.SIGTERM)
    assert (seen, stop.signum) == ([signal.SIGTERM], signal.SIGTERM)


def test_one_that_calls_what_it_replaced_is_no_second_signal(stop: StopRequest) -> None:
    ours: Any = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda signum, frame: (later(), ours(signum, frame)))
    stop.take_back()
    send(signal.SIGTERM)
    assert stop.signum == signal.SIGTERM


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_one_that_ends_the_process_lets_the_run_save_first(
    stop: StopRequest, end: type[BaseException]
) -> None:
    def ends(*_: object) -> None:
        raise end

    signal.signal(signal.SIGTERM, ends)
    stop.take_back()
    send(signal.SIGTERM)
    assert stop.signum == signal.SIGTERM


def test_the_debuggers_ctrl_c_is_left_to_it(stop: StopRequest) -> None:
    import pdb  # noqa: T100  it installs this at `continue`

    theirs = pdb.Pdb(nosigint=True).sigint_handler
    signal.signal(signal.SIGINT, theirs)
    stop.take_back()
    assert signal.getsignal(signal.SIGINT) == theirs


def test_what_the_experiment_forks_ends_as_ever(stop: StopRequest) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"1")
        time.sleep(60)
        os._exit(7)
    os.read(reading, 1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert stop.signum is None
