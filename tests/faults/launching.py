"""Processes of one run as torchrun and srun start them, forked from the zygote."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from exact_runs import Trial

from helpers import wait_for


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def by_torchrun(rank: int, world: int, port: int, *, on_each: int = 2) -> dict[str, str]:
    """What torchrun tells a process, with a store of rank 0's own."""
    numbers = {
        "RANK": rank,
        "WORLD_SIZE": world,
        "LOCAL_RANK": rank % on_each,
        "LOCAL_WORLD_SIZE": on_each,
        "GROUP_RANK": rank // on_each,
        "MASTER_PORT": port,
    }
    told = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "none"}
    return told | {name: str(number) for name, number in numbers.items()}


def by_srun(rank: int, world: int, port: int, *, on_each: int = 2) -> dict[str, str]:
    """What srun tells a process of a step on several machines."""
    nodes = world // on_each
    return {
        "SLURM_JOB_ID": "17",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank % on_each),
        "SLURM_NODEID": str(rank // on_each),
        "SLURM_STEP_NUM_TASKS": str(world),
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_STEP_TASKS_PER_NODE": f"{on_each}(x{nodes})",
        "SLURM_STEP_NODELIST": f"node[1-{nodes}]",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


class Several:
    """The processes of one start of a trial's run."""

    def __init__(self, trial: Trial, told: Sequence[dict[str, str]], **env: str) -> None:
        self.trial = trial
        runs = trial.project.runs()
        words = ["train", "--resume", runs[-1]] if runs else trial.begin
        self.pids = [
            trial.zygote.start(*words, cwd=trial.project.root, log=trial.log, env=each | env)
            for each in told
        ]

    def ended(self) -> list[int]:
        """Their statuses; as soon as one has failed the others are sent SIGTERM, as torchrun
        does."""
        statuses: dict[int, int] = {}
        first = self._first_to_end()
        for pid in sorted(self.pids, key=lambda pid: pid != first):
            statuses[pid] = self.trial.zygote.wait(pid)
            if statuses[pid] != 0:
                self.signal(signal.SIGTERM, set(self.pids) - statuses.keys())
        return [statuses[pid] for pid in self.pids]

    def signal(self, signum: int, pids: Iterable[int]) -> None:
        for pid in pids:
            os.kill(pid, signum)

    def _first_to_end(self) -> int:
        """A process that has ended and waits for its parent to look, when there is one."""
        return int(wait_for(lambda: next((p for p in self.pids if _has_ended(p)), 0), timeout=200))


def _has_ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
