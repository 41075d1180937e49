"""The devices, machines and strategy of a run whose processes torchrun or srun has started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.errors import ConfigurationError
from torch_lab.utils.launched import Launch
from torch_lab.utils.text import plural

_ALL = ("auto", -1, "-1", None)
_WAYS = {
    "torchrun": ("--nproc-per-node", "--nnodes"),
    "srun": ("--ntasks-per-node", "--nodes"),
}


class Launched(ClusterEnvironment):
    """Tells Lightning what the launcher said, whichever it was."""

    def __init__(self, launch: Launch) -> None:
        super().__init__()
        self._launch = launch

    @property
    def creates_processes_externally(self) -> bool:
        """They are all there."""
        return True

    @property
    def main_address(self) -> str:
        """Rank 0's machine."""
        return self._launch.address

    @property
    def main_port(self) -> int:
        """Where torch's store is."""
        return self._launch.port

    @staticmethod
    def detect() -> bool:
        """It is given, not found."""
        return False

    def world_size(self) -> int:
        """All processes."""
        return self._launch.world

    def set_world_size(self, size: int) -> None:
        """The launcher has the say."""

    def global_rank(self) -> int:
        """This one's number."""
        return self._launch.rank

    def set_global_rank(self, rank: int) -> None:
        """The launcher has the say."""

    def local_rank(self) -> int:
        """Its number on this machine, which is that of its device."""
        return self._launch.local_rank

    def node_rank(self) -> int:
        """The machine's number."""
        return self._launch.node


def seen_from_here(launch: Launch) -> Launch:
    """Each process as a machine of its own, where Lightning's way to count doesn't hold.

    Where srun binds each task to a GPU it sees that one alone, under the number 0; and where
    machines have not equally many processes, their product is no number of processes.
    """
    alone = torch.cuda.device_count() == 1 and launch.local_world > 1
    return launch.on_its_own_device() if alone or not launch.even else launch


def prepare_once(launch: Launch, *owners: Any) -> None:
    """Let the hook that fetches data run in one process of each machine, as Lightning means to."""
    if launch.local_rank > 0 and seen_from_here(launch) is not launch:
        for each in owners:
            if each is not None and is_overridden("prepare_data", each):
                each.prepare_data = lambda: None


def settle(init: Mapping[str, Any], launch: Launch) -> dict[str, Any]:
    """`trainer.init` with what the launcher has settled; what contradicts it is refused."""
    _refuse_others("devices", init.get("devices", "auto"), launch.local_world, launch, 0)
    _refuse_others("num_nodes", init.get("num_nodes"), launch.nodes, launch, 1)
    seen = seen_from_here(launch)
    strategy = init.get("strategy", "auto")
    devices = init.get("devices")
    listed = isinstance(devices, (list, tuple, str)) and devices not in _ALL
    return {
        **init,
        "devices": devices if listed and seen is launch else _devices(init, launch, seen),
        "num_nodes": seen.nodes,
        "strategy": "ddp" if strategy == "auto" else strategy,
    }


def _devices(init: Mapping[str, Any], launch: Launch, seen: Launch) -> int | list[int]:
    """How many, or the number of the only one."""
    several = torch.cuda.device_count() > 1 and init.get("accelerator") != "cpu"
    return [launch.local_rank] if several and seen is not launch else seen.local_world


def _refuse_others(key: str, asked: Any, there: int, launch: Launch, way: int) -> None:
    if asked in _ALL or _count(asked) == there:
        return
    if key == "devices":
        where = "each" if launch.even else "this"
        on = f" on {where} machine" if launch.nodes > 1 else ""
        runs = f"has started {plural(there, 'process', 'processes')}{on}"
    else:
        runs = f"runs on {plural(there, 'machine')}"
    options = _WAYS.get(launch.by)
    ask = f", or start them with {launch.by} {options[way]} {_count(asked)}" if options else ""
    raise ConfigurationError(
        f"trainer.init.{key}: {asked!r}, but {launch.by} {runs}",
        hint=f"Leave it out: it follows {launch.by}{ask}.",
    )


def _count(asked: Any) -> int:
    """How many are meant: a number, "2", "0,1" or [0, 1]."""
    if isinstance(asked, str):
        parts = [part for part in asked.split(",") if part.strip()]
        return int(asked) if "," not in asked and asked.strip().isdecimal() else len(parts)
    return len(asked) if isinstance(asked, Sequence) else int(asked)
