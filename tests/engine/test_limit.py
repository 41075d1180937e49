"""The process beside a command, which ends it when a signal has not."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from helpers import wait_for
from torch_lab.engine import trainer as trainers
from torch_lab.utils.overseer import AGAIN, ARM, CANCEL, ECHO, Deadline, Order
from zygote import Zygote

TERM, INT, CHLD = int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGCHLD)


def deadline(*heard: tuple[int, float], seconds: float = 30.0) -> Deadline:
    """What a deadline is after these words, each at its time."""
    made = Deadline(seconds, [TERM, INT])
    for word, now in heard:
        made.hear(word, now)
    return made


def test_it_counts_from_the_first_signal() -> None:
    assert deadline().at is None
    assert deadline((CHLD, 1.0)).at is None
    assert deadline((TERM, 1.0), (ARM, 4.0)).at == 31.0


def test_a_second_signal_shortens_it() -> None:
    assert deadline((TERM, 1.0), (TERM, 1.0 + ECHO / 2)).at == 31.0
    assert deadline((TERM, 1.0), (INT, 5.0)).at == 5.0 + AGAIN
    assert deadline((TERM, 1.0), (INT, 29.0)).at == 31.0


def test_it_counts_from_the_handler_where_no_signal_was_seen() -> None:
    """A program may take Python's way of telling of signals for itself."""
    assert deadline((ARM, 4.0)).at == 34.0


def test_it_asks_once_before_the_end_unless_it_was_told() -> None:
    untold = deadline((TERM, 1.0))
    assert [untold.to_ask(now) for now in (2.0, 27.0, 29.0, 30.0)] == [False, False, True, False]
    assert [untold.is_over(now) for now in (30.9, 31.0)] == [False, True]
    assert not deadline((TERM, 1.0), (ARM, 1.0)).to_ask(29.0)


def test_it_can_be_called_off() -> None:
    called_off = deadline((TERM, 1.0), (ARM, 1.0), (CANCEL, 2.0))
    assert (called_off.at, called_off.certain) == (None, False)


def test_an_order_survives_the_command_line() -> None:
    order = Order(7, 0.5, 3, 0, 64, [TERM, INT])
    assert vars(Order.of(order.words())) == vars(order)


# -- in processes ----------------------------------------------------------------------------

SCRIPT = """
import collections, hashlib, itertools, os, signal, sys, threading, time
from pathlib import Path
from torch_lab.engine.stop import StopRequest

def hold():
    collections.deque(itertools.count(), maxlen=0)

def another():
    "Its handler is not ours: what comes is not for us."
    signal.signal(signal.SIGTERM, lambda *_: Path("seen").touch())
    Path("ready").touch()
    while not Path("seen").exists():
        time.sleep(0.01)
    time.sleep(1)

def child():
    "One that is being forked gets a signal, and tells of it as if it were this process."
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    os.write(descriptor, bytes([signal.SIGTERM]))
    time.sleep(1)
    Path("ready").touch()

def stuck():
    hashlib.pbkdf2_hmac("sha1", b"", b"", 2**31 - 1)

stop = StopRequest(0.3)
with stop.listening():
    stop.deferring = True
    if sys.argv[1] == "log":
        stop.log = Path("log")
    if sys.argv[2] not in ("another", "child"):
        Path("ready").touch()
    globals()[sys.argv[2]]()
print("came to its end")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it can only be killed")
@pytest.mark.parametrize(
    ("place", "how"), [("log", "hold"), ("log", "stuck"), ("terminal", "hold")]
)
def test_what_runs_no_python_is_ended(tmp_path: Path, zygote: Zygote, place: str, how: str) -> None:
    said = _ended(tmp_path, zygote, place, how, status=1)
    stacks = (tmp_path / "log").read_text() if place == "log" else said
    assert f"in {how}" in stacks
    assert "SIGTERM: not ended after 0.3 s, so it is ended by force" in said


@pytest.mark.parametrize("how", ["another", "child"])
def test_a_signal_that_is_for_somebody_else_ends_nothing(
    tmp_path: Path, zygote: Zygote, how: str
) -> None:
    signum = 0 if how == "child" else signal.SIGTERM
    said = _ended(tmp_path, zygote, "terminal", how, status=0, signum=signum)
    assert "came to its end" in said


def _ended(
    folder: Path, zygote: Zygote, *words: str, status: int, signum: int = signal.SIGTERM
) -> str:
    (folder / "script.py").write_text(SCRIPT)
    log = folder / "said"
    pid = zygote.start_script(folder / "script.py", *words, cwd=folder, log=log)
    wait_for((folder / "ready").exists)
    os.kill(pid, signum)
    assert zygote.wait(pid) == status, log.read_text()
    return log.read_text()


# -- Lightning's handlers --------------------------------------------------------------------


class _Looks(pl.Callback):
    handler: object = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)


class _Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return self.net(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_lightning_handles_no_signals(tmp_path: Path) -> None:
    """It does when nobody keeps it from that, and it does so by the method that is replaced."""
    before = signal.getsignal(signal.SIGTERM)
    init = {"max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    bare, ours = _Looks(), _Looks()
    trainer = pl.Trainer(**init, callbacks=[bare], enable_checkpointing=False)
    built = trainers.build(
        {k: v for k, v in init.items() if k != "logger"}, [ours], directory=tmp_path, logger=None
    )
    for each in (trainer, built):
        with trainers.quiet():
            each.fit(_Module(), torch.utils.data.DataLoader(torch.ones(2, 1)))
    assert bare.handler is not before
    assert ours.handler is before
