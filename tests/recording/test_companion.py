"""The process beside a training: it ends when it should, and is no trouble before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import recording_helpers as board
from recording_helpers import Training

from helpers import environment, wait_for
from store.store_helpers import write_holder
from torch_lab.recording import beside
from torch_lab.recording.beside import Companion
from torch_lab.recording.companion import Order
from torch_lab.recording.machine import samples
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory

TRAINING = """
import json, os, sys, time
from pathlib import Path
from torch_lab.recording.beside import Companion
from torch_lab.recording.companion import Order
from torch_lab.recording.live import RunRecorder
from torch_lab.store.paths import RunDirectory

run = RunDirectory(Path(sys.argv[1]))
recorder = RunRecorder(run, 0)
companion = Companion(Order(str(run.path), os.getpid(), 0, True, 0.2), print)
if os.fork() == 0:  # a loader worker: it has the pipe's other end, and lives on
    time.sleep(60)
    os._exit(0)
recorder.scalar("loss", 1.0)
print(companion.pid, flush=True)
sys.stdin.readline()
recorder.scalar("loss", 2.0)
print("written", flush=True)
time.sleep(60)
"""


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] in "ZX")


def order(training: Training, **changes: object) -> Order:
    facts = {"run": str(training.run.path), "parent": os.getpid(), "start": 0}
    return Order(**{**facts, "tensorboard": True, "machine_use_seconds": 0.0, **changes})


def test_it_is_gone_soon_after_a_training_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as training:
        assert training.stdin is not None
        assert training.stdout is not None
        companion = int(training.stdout.readline())
        events = tmp_path / "tensorboard"
        wait_for(lambda: events.is_dir() and board.scalars(events).get("loss"))
        wait_for(lambda: list(samples(RunDirectory(tmp_path))))
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(companion, signum)
        training.stdin.write("go on\n")
        training.stdin.flush()
        assert training.stdout.readline() == "written\n"
        assert lives(companion)
        os.kill(training.pid, signal.SIGKILL)  # the worker lives on
        wait_for(lambda: not lives(companion))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(training.pid, signal.SIGKILL)
    assert board.scalars(events)["loss"] == [(0, 1.0), (0, 2.0)]
    assert "machine/cpu_percent" in board.scalars(events)


@pytest.mark.parametrize("gone", [False, True], ids=["taken over", "deleted"])
def test_it_leaves_when_the_run_is_no_more_its_own(tmp_path: Path, gone: bool) -> None:
    (tmp_path / "run").mkdir()
    training = Training(tmp_path / "run")
    lock = Lock.acquire(training.run, lost_after=60)
    made = order(training, machine_use_seconds=0.2, token=lock.token)
    said: list[str] = []
    companion = Companion(made, said.append)
    assert companion.pid is not None
    wait_for(lambda: list(samples(training.run)))
    training.recorder.scalar("loss", 1.0)
    if gone:
        training.run.path.rename(tmp_path / "aside")
    else:
        write_holder(training.run, 2, host="elsewhere")
    wait_for(lambda: not lives(companion.pid or 0))
    companion.end()
    assert said == []


def test_its_end_is_waited_for_and_nothing_is_missing(tmp_path: Path) -> None:
    training, said = Training(tmp_path), list[str]()
    companion = Companion(order(training, machine_use_seconds=60.0), said.append)
    for batch in range(1, 301):
        training.batch = batch
        training.recorder.scalar("loss", batch)
    companion.end()
    companion.end()
    assert companion.pid is not None
    assert not lives(companion.pid)
    assert said == []
    shown = board.scalars(training.run.tensorboard)
    assert shown["loss"] == [(batch - 1, batch) for batch in range(1, 301)]
    assert len(list(samples(training.run))) == 1, "a run shorter than the interval has one, too"


def test_only_the_machine(tmp_path: Path) -> None:
    training = Training(tmp_path)
    Companion(order(training, tensorboard=False, machine_use_seconds=60.0), print).end()
    assert not training.run.tensorboard.exists()
    assert len(list(samples(training.run))) == 1


def test_what_ends_it_is_said_once(tmp_path: Path) -> None:
    training, said = Training(tmp_path), list[str]()
    training.run.tensorboard.touch()  # in the way
    companion = Companion(order(training), said.append)
    (remark,) = wait_for(lambda: said)
    companion.end()
    assert said == [remark]
    assert remark.startswith("warning: nothing more is written for TensorBoard")
    assert "File exists" in remark


def test_one_that_cannot_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    companion = Companion(order(Training(tmp_path)), said.append)
    companion.end()
    assert companion.pid is None
    assert len(said) == 1
    assert "No such file or directory" in said[0]


def test_one_that_hangs_is_not_waited_for_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_MORE", 0.1)
    monkeypatch.setattr(beside, "_CODE", "import time; time.sleep(60)")
    said: list[str] = []
    companion = Companion(order(Training(tmp_path)), said.append)
    assert companion.pid is not None
    companion.end(patience=0.1)
    assert not lives(companion.pid)
    assert said == []


def test_files_of_that_name_in_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    training, said = Training(tmp_path), list[str]()
    for name in ("queue.py", "tensorboard.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong one')")
    companion = Companion(order(training), said.append)
    training.recorder.scalar("loss", 1)
    companion.end()
    assert said == []
    assert board.scalars(training.run.tensorboard)["loss"] == [(0, 1.0)]


def test_it_imports_nothing_that_trains(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from torch_lab.recording import companion
        from torch_lab.store.paths import RunDirectory
        companion.Teller(RunDirectory(Path(sys.argv[1])), 0)
        heavy = {"torch", "pytorch_lightning", "tensorflow", "PIL", "matplotlib"}
        print(*heavy & set(sys.modules))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "\n"
