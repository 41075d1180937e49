"""An exception of one process, told to another."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from torch_lab.engine.ranks import RankFailed
from torch_lab.engine.ranks.failures import Failure, first, is_echo
from torch_lab.errors import NonFiniteLoss, RankLost, RunError, Stopped, TorchLabError
from torch_lab.utils.tracebacks import format_exception, summary


def told(error: BaseException) -> BaseException:
    """The exception as rank 0 gets it from rank 1."""
    sent = Failure.of(error, 1).plain()
    return Failure(**json.loads(json.dumps(sent))).exception()


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - to have its traceback
        return caught


def test_an_exception_keeps_its_traceback_and_notes() -> None:
    error = raised(ValueError("boom"))
    error.add_note("in training, epoch 1")
    found = told(error)
    assert isinstance(found, RankFailed)
    assert summary(found) == "ValueError: boom (in rank 1)"
    text = format_exception(found)
    assert "raise error" in text
    assert text.endswith("ValueError: boom\nin training, epoch 1\n")


def test_a_mistake_stays_one() -> None:
    found = told(raised(NonFiniteLoss("the loss became nan", hint="Look at the data.")))
    assert isinstance(found, NonFiniteLoss)
    assert found.message.splitlines()[0] == "the loss became nan"
    assert "test_rank_failures.py" in found.message
    assert found.hint == "Look at the data."


def test_an_error_of_a_kind_that_is_not_known_here_is_one_of_the_run() -> None:
    class Newer(TorchLabError):
        pass

    assert type(told(Newer("something"))) is RunError


def test_a_signal_is_one_here_too() -> None:
    found = told(Stopped(signal.SIGTERM))
    assert isinstance(found, Stopped)
    assert found.signum == signal.SIGTERM


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (-9, "rank 2 was killed by SIGKILL"),
        (3, "the process of rank 2 ended by itself, with status 3, before the run was over"),
        (None, "rank 2 doesn't answer any more"),
    ],
)
def test_a_death_without_a_word(status: int | None, message: str) -> None:
    found = Failure.of_death(2, status).exception()
    assert isinstance(found, RankLost)
    assert found.message == message
    assert (found.hint is not None) == (status == -9)
    if found.hint:
        assert found.hint.startswith("The system kills where memory runs out")


def test_the_first_that_is_no_echo_is_the_cause() -> None:
    early, late = Failure(1, 1.0, echo=True), Failure(2, 2.0)
    assert first([early, late, Failure(3, 3.0)]) is late
    assert first([early]) is early
    assert first([]) is None


def test_what_collective_calls_raise_is_an_echo() -> None:
    closed = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:2")
    wrapped = RunError("Lightning can't work with this")
    wrapped.__cause__ = closed
    assert is_echo(closed)
    assert is_echo(wrapped)
    assert is_echo(torch.distributed.DistNetworkError("the store is gone"))
    assert not is_echo(RuntimeError("shapes differ"))
    assert not is_echo(ValueError("gloo"))
