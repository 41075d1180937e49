"""Training beside a ClearML server: the one of the tests, on this machine, well, slow or gone."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import subjects
from benchmarks.measuring import Rounds, Spread, alternate
from benchmarks.report import Line, micros, seconds, times
from benchmarks.subjects import EXPERIMENTS, ROOT, installed
from benchmarks.timing import StepTimer, step_cost

ROUNDS, BATCHES, EPOCHS = 20, 1000, 3
P99 = 1.05
STARTS, START = 12, 0.3
SYNCS, ROWS, NAMES = 5, 25_000, ("loss/train", "accuracy/train", "f1/train", "auroc/train")
SYNC, MEMORY = 20.0, 200.0
SLOWNESS = 0.5  # seconds that the slow server takes for each answer
OFFLINE, AGAIN = "offline", "offline again"
SERVERS = ("healthy", "slow", "dead")
_READY = 60.0  # seconds in which a sender has to have come up
_GONE = 10.0  # seconds in which a killed process has to be gone


def run() -> list[Line]:
    """Steps, and the first of them, with servers of each kind and with none."""
    with _settings() as settings:
        steps = _Steps(settings)
        rounds = alternate(ROUNDS, {name: steps.subject(name) for name in settings})
        starts = {name: settings[name] for name in (OFFLINE, *SERVERS)}
        first = alternate(
            STARTS, {name: lambda it=it: _until_first_step(it) for name, it in starts.items()}
        )
    tails = Rounds(steps.tails)
    lines = [line for name in SERVERS for line in _step_lines(name, rounds, tails)]
    lines += [_start_line(name, first) for name in SERVERS]
    return [*lines, _memory_line("… a sender's peak memory, beside training", steps.memory)]


def sync() -> list[Line]:
    """A run of 100,000 scalars, sent at once."""
    took, memory = [], 0.0
    with ExitStack() as stack:
        server = stack.enter_context(_server())
        for _ in range(SYNCS):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            name = _long_run(folder)
            elapsed, peak = _synced(name, folder, server.environment)
            whole = [each for each in server.scalars(name).values() if len(each) == ROWS]
            if len(whole) != len(NAMES):
                raise RuntimeError(f"{len(whole)} series arrived")
            server.forget()
            took.append(elapsed)
            memory = max(memory, peak)
    spread = Spread.of(took)
    count = ROWS * len(NAMES)
    return [
        Line(
            f"`lab sync`: {count:,} scalars",
            lab=seconds(spread.middle),
            compared=f"{seconds(spread.low)}-{seconds(spread.high)}",
            target=seconds(SYNC),
            ok=spread.high <= SYNC,
        ),
        _memory_line("… its peak memory", memory),
    ]


# -- steps ----------------------------------------------------------------------------------------


@dataclass
class _Steps:
    """Trainings in this process, each with an artifacts folder and a sender of its own."""

    settings: dict[str, dict[str, str]]
    tails: dict[str, list[float]] = field(default_factory=dict)
    memory: float = 0.0

    def subject(self, name: str) -> Any:
        return lambda: self._cost(name)

    def _cost(self, name: str) -> float:
        sets = (f"config.batches={BATCHES}", f"trainer.init.max_epochs={EPOCHS}")
        with tempfile.TemporaryDirectory() as folder, _sender_ended(Path(folder)) as sender:
            if name in SERVERS:
                _bring_up_a_sender(Path(folder), self.settings[name])
            subjects.train("mlp", Path(folder), *sets, **self.settings[name])
            if name in SERVERS:
                self.memory = max(self.memory, _peak(sender()))
            if name == "healthy":
                _check_that_rows_were_sent(Path(folder))
        epochs = StepTimer.latest.epochs
        self.tails.setdefault(name, []).append(_p99(epochs))
        if len(self.tails[name]) > ROUNDS:
            del self.tails[name][0]  # of the round that is not counted
        return step_cost(epochs)


def _bring_up_a_sender(artifacts: Path, variables: dict[str, str]) -> None:
    """Train for a moment, until the sender that this starts has reached the server, or has not.

    It is then at work from the first step that is timed to the last.
    """
    from torch_lab.mirror import senders

    subjects.train("mlp", artifacts, "config.batches=10", **variables)
    end = time.monotonic() + _READY
    while senders.read_state(artifacts).state in ("", "connecting"):
        if time.monotonic() > end:
            raise RuntimeError("the sender does not come up")
        time.sleep(0.05)


def _check_that_rows_were_sent(artifacts: Path) -> None:
    """While the steps were timed: else nothing was measured."""
    from torch_lab.mirror import state
    from torch_lab.store.paths import RunDirectory

    newest = max(artifacts.glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent
    mirror = state.read(RunDirectory(newest))
    if mirror is None or not mirror.positions.get("metrics/0000.jsonl"):
        raise RuntimeError(f"nothing of {newest.name} was sent while it was trained")


def _p99(epochs: list[list[float]]) -> float:
    """The duration that one step in a hundred exceeds, the first steps of an epoch aside."""
    steps = [b - a for begins in epochs for a, b in itertools.pairwise(begins[100:])]
    return statistics.quantiles(steps, n=100)[98]


def _step_lines(name: str, rounds: Rounds, tails: Rounds) -> list[Line]:
    ratio, noise = rounds.ratio(name, to=OFFLINE), rounds.ratio(AGAIN, to=OFFLINE)
    tail = tails.ratio(name, to=OFFLINE)
    return [
        Line(
            f"a step with a {name} server (plain: `--offline`)",
            plain=micros(rounds.median(OFFLINE)),
            lab=micros(rounds.median(name)),
            compared=times(ratio),
            target=f"{noise.high:.2f}x",
            ok=ratio.middle <= noise.high,
        ),
        Line(
            "… the 99th percentile",
            plain=micros(tails.median(OFFLINE)),
            lab=micros(tails.median(name)),
            compared=times(tail),
            target=f"{P99:.2f}x",
            ok=tail.middle <= P99,
        ),
    ]


# -- the start ------------------------------------------------------------------------------------


def _until_first_step(variables: dict[str, str]) -> float:
    """Seconds from the command to the first 50 steps, which take a twentieth of one."""
    sets = ("-s", "config.batches=50")
    with tempfile.TemporaryDirectory() as folder, _sender_ended(Path(folder)):
        begin = time.time()
        subprocess.run(
            [*installed("train"), str(EXPERIMENTS / "mlp" / "hparams.py"), *sets],
            cwd=ROOT,
            env=subjects.environment(Path(folder), **variables),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        (journal,) = Path(folder).glob("*/metrics/0000.jsonl")
        row: dict[str, Any] = json.loads(journal.read_text().splitlines()[1])
        return float(row["t"]) - begin


def _start_line(name: str, rounds: Rounds) -> Line:
    later = rounds.difference(name, to=OFFLINE)
    return Line(
        f"to the first steps, with a {name} server (plain: `--offline`)",
        plain=seconds(rounds.median(OFFLINE)),
        lab=seconds(rounds.median(name)),
        compared=f"{later.middle:+.2f} s ({later.low:.2f}-{later.high:.2f})",
        target=f"+{START} s",
        ok=later.middle <= START,
    )


# -- a long run -----------------------------------------------------------------------------------


def _long_run(artifacts: Path) -> str:
    """A completed run of many rows, written by the store's own code."""
    from benchmarks.listing import make_runs
    from torch_lab.store.journal import Journal
    from torch_lab.store.paths import RunDirectory

    make_runs(artifacts, 1)
    (path,) = (each.parent for each in artifacts.glob("*/run.json"))
    journal = Journal(RunDirectory(path), after=0)
    for i in range(1, ROWS + 1):
        journal.append(i, i, 0, dict.fromkeys(NAMES, 1 / i))
    journal.close()
    return path.name


def _synced(name: str, artifacts: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Seconds that `lab sync` takes, and its peak memory in MB."""
    begin, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(
        [*installed("lab"), "sync", name],
        cwd=ROOT,
        env=subjects.environment(artifacts, **variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        peak = max(peak, _peak(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"lab sync: exit {process.returncode}")
    return time.perf_counter() - begin, peak


# -- servers and senders --------------------------------------------------------------------------


@contextmanager
def _settings() -> Iterator[dict[str, dict[str, str]]]:
    """The variables that make each subject; none waits at its end for what is not sent."""
    with _server() as healthy, _server() as slow, socket.socket() as taken:
        slow.fault("slow", seconds=SLOWNESS)
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        dead = {
            name: text.replace(healthy.url, f"http://127.0.0.1:{taken.getsockname()[1]}")
            for name, text in healthy.environment.items()
        }
        mirrored = {"healthy": healthy.environment, "slow": slow.environment, "dead": dead}
        offline = {"TORCH_LAB_OFFLINE": "true"}
        yield {OFFLINE: offline, AGAIN: offline} | {
            name: {**variables, "TORCH_LAB_SYNC_WAIT": "0"} for name, variables in mirrored.items()
        }


@contextmanager
def _server() -> Iterator[Any]:
    sys.path.append(str(ROOT / "tests"))
    from clearml_server.fixture import ClearMLServer

    with tempfile.TemporaryDirectory() as folder:
        server = ClearMLServer(Path(folder, "server"))
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def _sender_ended(artifacts: Path) -> Iterator[Any]:
    """Whoever sends from this folder is killed at the end; it would send beside the next one."""
    from torch_lab.mirror import senders

    def sender() -> int:
        return senders.read_state(artifacts).pid

    try:
        yield sender
    finally:
        if pid := sender():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            _wait_for_the_end_of(pid)


def _wait_for_the_end_of(pid: int) -> None:
    end = time.monotonic() + _GONE
    while time.monotonic() < end and _peak(pid):
        time.sleep(0.01)


def _peak(pid: int) -> float:
    """The most memory that a process had, in MB; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1]) / 1000 for words in lines if words[0] == "VmHWM:"), 0.0)


def _memory_line(what: str, memory: float) -> Line:
    return Line(what, lab=f"{memory:.0f} MB", target=f"{MEMORY:.0f} MB", ok=0 < memory <= MEMORY)
