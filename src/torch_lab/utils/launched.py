"""How this process was started, where torchrun or srun has started it as one of several."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from torch_lab.errors import UsageError
from torch_lab.utils.orphans import end_with

CHANNEL = "_TORCH_LAB_CHANNEL"  # tells what rank 0 starts its end of the channel, and its rank
_FIRST_PORT, _PORTS = 15_000, 15_000  # below those that systems give to outgoing connections
_TORCHRUNS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
)


@dataclass(frozen=True)
class Launch:
    """This process's place among those that `by` has started for one run."""

    by: str
    rank: int
    world: int
    local_rank: int
    local_world: int  # processes on this machine
    node: int
    nodes: int
    address: str  # rank 0's machine
    port: int
    hosts: tuple[str, ...] = ()  # by node, where they are known
    attempt: int = 0  # how often torchrun has started all of them again
    agents_store: bool = False  # torchrun itself serves the port
    even: bool = True  # as many processes on each machine, as far as can be said

    def place(self, rank: int) -> str:
        """The machine that a rank is on, as far as can be said."""
        if not self.even:
            return "on some machine"
        node = rank // self.local_world
        return self.hosts[node] if node < len(self.hosts) else f"machine {node}"

    def on_its_own_device(self) -> Launch:
        """Each process taken for a machine: it sees no other device than its own."""
        hosts = tuple(map(self.place, range(self.world))) if self.hosts else ()
        own = replace(self, local_rank=0, local_world=1, hosts=hosts, even=True)
        return replace(own, node=self.rank, nodes=self.world)


def launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """This process's place among several; None where it is alone, or rank 0 has started it."""
    if CHANNEL in environment:
        return None
    found = _by_variables(environment) or _by_srun(environment)
    return found if found is not None and found.world > 1 else None


def forget(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the only process that torchrun has started be like one that was started by hand."""
    if environment.get("WORLD_SIZE") == "1" and "RANK" in environment:
        for name in (*_TORCHRUNS, *(each for each in environment if "TORCHELASTIC" in each)):
            environment.pop(name, None)


def with_own_store(launch: Launch, port: int) -> Launch:
    """Have torch meet in a store of rank 0's at that port.

    In torchrun's own the processes of an earlier attempt have left their addresses, which torch
    would take for those of this one.
    """
    if launch.port == port:
        return launch
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    return replace(launch, port=port, agents_store=False)


def end_with_agent(launch: Launch) -> None:
    """Let a process that torchrun has started get SIGTERM when torchrun itself is killed."""
    if launch.by == "torchrun":
        end_with(os.getppid())


def leave_word(message: str, traceback: str) -> None:
    """Let torchrun's last lines name the process that failed first, and with what."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    told = {"py_callstack": traceback, "timestamp": str(int(time.time()))}
    with suppress(OSError):  # of no consequence: rank 0 says it, too
        Path(file).write_text(json.dumps({"message": {"message": message, "extraInfo": told}}))


def _by_variables(environment: Mapping[str, str]) -> Launch | None:
    """Torchrun's variables, which other launchers set, too."""
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        if environment.get("LOCAL_RANK", "0") not in ("", "0"):
            raise _incomplete("LOCAL_RANK", ["RANK", "WORLD_SIZE"])
        return None
    rank, world = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
    if world > 1 and missing:
        raise _incomplete("RANK and WORLD_SIZE", missing)
    local = _number(environment, "LOCAL_WORLD_SIZE", 1)
    local_rank = _number(environment, "LOCAL_RANK", 0)
    nodes = _number(environment, "GROUP_WORLD_SIZE", -(-world // local))
    return Launch(
        by="torchrun" if "TORCHELASTIC_RUN_ID" in environment else "the launcher",
        rank=rank,
        world=world,
        local_rank=local_rank,
        local_world=local,
        node=_number(environment, "GROUP_RANK", rank // local),
        nodes=nodes,
        address=environment.get("MASTER_ADDR", ""),
        port=_number(environment, "MASTER_PORT", 0),
        attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT", 0),
        agents_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        even=world == local * nodes and local_rank < local,
    )


def _by_srun(environment: Mapping[str, str]) -> Launch | None:
    """A step of a Slurm job; in a batch script itself nothing has started several."""
    if not environment.get("SLURM_STEP_NUM_TASKS"):
        if environment.get("SLURM_PROCID", "0") not in ("", "0"):
            raise _incomplete("SLURM_PROCID", ["SLURM_STEP_NUM_TASKS"])
        return None
    rank, world = _number(environment, "SLURM_PROCID"), _number(environment, "SLURM_STEP_NUM_TASKS")
    nodes = _number(environment, "SLURM_STEP_NUM_NODES", 1)
    if world % nodes or _uneven(environment.get("SLURM_STEP_TASKS_PER_NODE", "")):
        raise UsageError(
            f"srun has started {world} processes on {nodes} machines, not equally many on each",
            hint="srun --ntasks-per-node N says how many there are to be on each machine.",
        )
    hosts = hosts_of(environment.get("SLURM_STEP_NODELIST", ""))
    return Launch(
        by="srun",
        rank=rank,
        world=world,
        local_rank=_number(environment, "SLURM_LOCALID", rank % (world // nodes)),
        local_world=world // nodes,
        node=_number(environment, "SLURM_NODEID", rank // (world // nodes)),
        nodes=nodes,
        address=environment.get("MASTER_ADDR") or (hosts[0] if hosts else "localhost"),
        port=_number(environment, "MASTER_PORT", _port_of_step(environment)),
        hosts=hosts,
    )


def _uneven(tasks: str) -> bool:
    """Whether Slurm's "4(x2),3" names more than one number of tasks."""
    return len(set(re.sub(r"\(x\d+\)", "", tasks).split(","))) > 1


def _port_of_step(environment: Mapping[str, str]) -> int:
    """The same in all of a step's processes, and hardly that of another step."""
    job, step = (_number(environment, name, 0) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return _FIRST_PORT + (job * 31 + step) % _PORTS


def hosts_of(nodelist: str) -> tuple[str, ...]:
    """The names in Slurm's short form of them: "gpu[01-03,7],login"."""
    parts = re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", nodelist)
    return tuple(chain.from_iterable(map(_spelled_out, parts)))


def _spelled_out(part: str) -> list[str]:
    before, bracket, rest = part.partition("[")
    if not bracket:
        return [part]
    numbers, _, after = rest.partition("]")
    middles = chain.from_iterable(map(_range, numbers.split(",")))
    return [f"{before}{middle}{end}" for middle in middles for end in _spelled_out(after)]


def _range(text: str) -> list[str]:
    first, dash, last = text.partition("-")
    if not dash:
        return [first]
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "")
    if not text and default is not None:
        return default
    if not text.isdecimal():
        raise UsageError(f"{name}: expected a number from the launcher, got {text!r}")
    return int(text)


def _incomplete(given: str, missing: list[str]) -> UsageError:
    return UsageError(
        f"{given} in the environment: this process is one of several, but there is no"
        f" {' and no '.join(missing)}",
        hint="torchrun sets all of them: torchrun --nproc-per-node 2 -m torch_lab train …",
    )
