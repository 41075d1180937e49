"""What launchers tell a process of its place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from torch_lab.errors import UsageError
from torch_lab.utils import launched

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "gpu01",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "2",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[01-02]",
}


def test_torchrun() -> None:
    found = launched.launch(TORCHRUN)
    assert found is not None
    assert (found.by, found.rank, found.world) == ("torchrun", 5, 8)
    assert (found.local_rank, found.local_world, found.node, found.nodes) == (1, 4, 1, 2)
    assert (found.address, found.port) == ("gpu01", 29500)
    assert (found.attempt, found.agents_store) == (2, True)
    assert found.place(7) == "machine 1"


def test_srun() -> None:
    found = launched.launch(SRUN)
    assert found is not None
    assert (found.by, found.rank, found.world) == ("srun", 5, 8)
    assert (found.local_rank, found.local_world, found.node, found.nodes) == (1, 4, 1, 2)
    assert found.address == "gpu01"
    assert [found.place(rank) for rank in (0, 3, 4, 7)] == ["gpu01", "gpu01", "gpu02", "gpu02"]
    again = launched.launch(SRUN | {"SLURM_PROCID": "0"})
    other = launched.launch(SRUN | {"SLURM_STEP_ID": "3"})
    assert again is not None
    assert other is not None
    assert again.port == found.port != other.port
    assert 15_000 <= found.port < 30_000


def test_torchrun_in_a_step_of_slurms() -> None:
    found = launched.launch(SRUN | TORCHRUN)
    assert found is not None
    assert found.by == "torchrun"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"},  # a batch script itself
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"_TORCH_LAB_CHANNEL": "5 1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"},  # by rank 0
    ],
)
def test_alone(variables: dict[str, str]) -> None:
    assert launched.launch(variables) is None


def test_torchruns_only_process_may_start_others() -> None:
    alone = TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1", "HOME": "/root"}
    launched.forget(alone)
    assert alone == {"HOME": "/root"}
    launched.forget(several := dict(TORCHRUN))
    assert several == TORCHRUN


@pytest.mark.parametrize("tasks", ["4(x1),3", "2,1"])
def test_machines_have_equally_many(tasks: str) -> None:
    with pytest.raises(UsageError) as caught:
        launched.launch(SRUN | {"SLURM_STEP_TASKS_PER_NODE": tasks})
    assert str(caught.value) == (
        "srun has started 8 processes on 2 machines, not equally many on each\n"
        "srun --ntasks-per-node N says how many there are to be on each machine."
    )


def test_a_number_that_is_none() -> None:
    with pytest.raises(UsageError, match="RANK: expected a number from the launcher, got 'x'"):
        launched.launch(TORCHRUN | {"RANK": "x"})


@pytest.mark.parametrize(
    ("short", "hosts"),
    [
        ("", ()),
        ("login", ("login",)),
        ("gpu[01-03,7],cpu-1", ("gpu01", "gpu02", "gpu03", "gpu7", "cpu-1")),
        ("r[1-2]n[08-09]", ("r1n08", "r1n09", "r2n08", "r2n09")),
    ],
)
def test_slurms_short_form_of_names(short: str, hosts: tuple[str, ...]) -> None:
    assert launched.hosts_of(short) == hosts


def test_a_process_that_sees_its_own_device_alone() -> None:
    found = launched.launch(SRUN)
    assert found is not None
    own = found.on_its_own_device()
    assert (own.rank, own.world, own.local_rank, own.local_world) == (5, 8, 0, 1)
    assert (own.node, own.nodes, own.place(5)) == (5, 8, "gpu02")


def test_machines_with_different_numbers_of_processes() -> None:
    found = launched.launch(TORCHRUN | {"WORLD_SIZE": "9", "GROUP_WORLD_SIZE": "2"})
    assert found is not None
    assert (found.even, found.node, found.nodes, found.place(7)) == (False, 1, 2, "on some machine")
    own = found.on_its_own_device()
    assert (own.local_rank, own.local_world, own.nodes, own.even) == (0, 1, 9, True)


def test_a_process_ends_with_torchrun() -> None:
    """Torchrun is killed, and what it had started gets SIGTERM."""
    child = (
        "import signal, sys\n"
        "from torch_lab.utils import launched\n"
        f"launched.end_with_agent(launched.launch({TORCHRUN!r}))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    agent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    started = subprocess.Popen([sys.executable, "-c", agent], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.kill()
    assert started.stdout.read() == ""  # until nobody has it open any more
    started.wait()
    started.stdout.close()
