"""Processes of one run: they stop at one boundary, fail with one exception, and end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers import environment, wait_for

LOOP = Path(__file__).parent / "rank_loop.py"
EVENLY = [0.01, 0.01]


class Run:
    """The processes of rank_loop.py, and what they did."""

    def __init__(self, folder: Path, pauses: Sequence[float] = EVENLY, **order: Any) -> None:
        self.folder, self.world = folder, len(pauses)
        order = {"pauses": list(pauses), "batches": 10, **order}
        (folder / "order.json").write_text(json.dumps(order))
        words = [sys.executable, str(LOOP), "0", str(folder)]
        self.process = subprocess.Popen(
            words, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def did(self, rank: int) -> list[str]:
        path = self.folder / str(rank)
        return path.read_text().splitlines() if path.exists() else []

    def pids(self) -> list[int]:
        found = [each for rank in range(self.world) for each in self.did(rank) if "pid" in each]
        return [int(each.split()[1]) for each in found]

    def begun(self, batch: int = 1) -> Run:
        """Wait until all ranks have come to a batch."""
        every = [self.folder / f"{rank}.batch" for rank in range(self.world)]
        wait_for(lambda: all(e.exists() and int(e.read_text()) >= batch for e in every))
        return self

    def ended(self) -> tuple[int, str]:
        """The exit status and the last thing that rank 0 noted; nobody is left."""
        _, said = self.process.communicate(timeout=60)
        wait_for(lambda: not any(map(_is_alive, self.pids())))
        return self.process.returncode, (self.did(0) or [said])[-1]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def fault(rank: int, at: object, what: str) -> dict[str, Any]:
    return {"rank": rank, "at": at, "what": what}


def stops(run: Run) -> list[str]:
    """Where each rank stopped or saved."""
    return [line for rank in range(run.world) for line in run.did(rank) if line.startswith("at ")]


def test_to_the_end(tmp_path: Path) -> None:
    run = Run(tmp_path, [0.001] * 3)
    assert run.ended() == (0, "completed")
    assert [run.did(rank)[1:3] for rank in range(3)] == [["here", "trained"]] * 3


@pytest.mark.parametrize("to", ["lead", "follower", "all"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_any_stops_all_at_one_boundary(tmp_path: Path, to: str, signum: int) -> None:
    run = Run(tmp_path, [0.001, 0.02, 0.001], batches=10_000, every=5).begun(5)
    pids = {"lead": run.pids()[:1], "follower": run.pids()[2:], "all": run.pids()}
    for pid in pids[to]:
        os.kill(pid, signum)
    assert run.ended()[1] == f"Stopped: {signal.Signals(signum).name}"
    found = stops(run)
    assert len(found) == 3
    assert len(set(found)) == 1
    assert found[0].split()[2:] == [str(int(signum)), "False"]


def test_the_slowest_step_keeps_nobody_from_agreeing(tmp_path: Path) -> None:
    """The boundary is found while a step is under way, not when the next look would be due."""
    run = Run(tmp_path, [0.3, 0.001], batches=1000, every=4).begun(4)
    os.kill(run.pids()[1], signal.SIGTERM)
    assert run.ended()[1] == "Stopped: SIGTERM"
    assert len(set(stops(run))) == 1


def test_time_is_up_for_all_when_it_is_for_rank_0(tmp_path: Path) -> None:
    run = Run(tmp_path, EVENLY, batches=200, time_is_up=[3, 40])
    assert run.ended() == (0, "completed")
    found = stops(run)
    assert len(found) == 4
    assert found[:2] == found[2:]
    assert all(line.endswith(" 0 True") for line in found)


def test_a_signal_comes_in_the_midst_of_saving_for_time(tmp_path: Path) -> None:
    run = Run(tmp_path, EVENLY, batches=2000, time_is_up=list(range(1, 2000))).begun(3)
    os.kill(run.pids()[0], signal.SIGTERM)
    assert run.ended()[1] == "Stopped: SIGTERM"
    last = [run.did(rank) for rank in range(2)]
    assert last[0][-2] == last[1][-1]
    assert " 15 " in last[0][-2]


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, [0.01, 0.01], batches=1000, faults=[fault(1, 3, "SIGTERM SIGTERM")])
    assert run.ended()[1] == "Stopped: SIGTERM"


def test_a_signal_before_training_ends_all(tmp_path: Path) -> None:
    run = Run(tmp_path, faults=[fault(1, "start", "SIGTERM")])
    assert run.ended()[1] == "Stopped: SIGTERM"
    assert stops(run) == []


FAILURES: Mapping[str, str] = {
    "raise": "ValueError: boom (in rank 1)",
    "mistake": "ConfigurationError: no such thing",
    "SIGKILL": "RankLost: rank 1 was killed by SIGKILL",
    "exit3": "RankLost: the process of rank 1 ended by itself, with status 3, before the run was"
    " over",
    "exit0": "RankLost: the process of rank 1 ended by itself, with status 0, before the run was"
    " over",
}


@pytest.mark.parametrize("at", ["start", 3, "end"])
@pytest.mark.parametrize("what", FAILURES)
def test_a_rank_that_fails_ends_all_with_what_it_had(tmp_path: Path, what: str, at: object) -> None:
    run = Run(tmp_path, faults=[fault(1, at, what)])
    status, said = run.ended()
    assert (status, said.split("\n")[0]) == (1, FAILURES[what])


def test_a_rank_that_fails_interrupts_rank_0(tmp_path: Path) -> None:
    run = Run(tmp_path, [1000, 0.01], faults=[fault(1, 1, "raise")])
    assert run.ended() == (1, "ValueError: boom (in rank 1)")


def test_rank_0_is_left_behind_where_nothing_interrupts_it(tmp_path: Path) -> None:
    faults = [fault(0, 3, "stuck"), fault(1, 3, "raise")]
    run = Run(tmp_path, faults=faults, stuck=1.0)
    assert run.ended() == (1, "gave up ValueError: boom (in rank 1)")


def test_rank_0_fails_and_ends_one_that_hangs(tmp_path: Path) -> None:
    run = Run(tmp_path, faults=[fault(0, 3, "raise"), fault(1, 4, "hang")])
    assert run.ended() == (1, "ValueError: boom")


@pytest.mark.parametrize("cause", ["raise", "SIGKILL"])
def test_an_echo_is_not_taken_for_the_cause(tmp_path: Path, cause: str) -> None:
    """gloo's error in rank 0 and 2, whichever comes first, and what rank 1 really had."""
    faults = [fault(0, 3, "echo"), fault(1, 3, cause), fault(2, 3, "echo")]
    run = Run(tmp_path, [0.01] * 3, faults=faults)
    assert run.ended() == (1, FAILURES[cause])


def test_the_others_end_when_rank_0_is_gone(tmp_path: Path) -> None:
    run = Run(tmp_path, [0.01, 1000, 0.01], batches=1000)
    wait_for(lambda: len(run.pids()) == 3 and all("here" in run.did(rank) for rank in range(3)))
    os.kill(run.pids()[0], signal.SIGKILL)
    assert run.ended()[0] == -signal.SIGKILL
