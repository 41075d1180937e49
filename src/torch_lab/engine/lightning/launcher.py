"""The other ranks' processes, started by Lightning's own command and watched by a run's own eyes.

Lightning looks every five seconds whether one has died, and kills all of them with SIGKILL, rank 0
and what it had to say about it included. It ends none when rank 0 ends.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pytorch_lightning as pl
from lightning_fabric.strategies.launchers.subprocess_script import _basic_subprocess_cmd
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from torch_lab.engine import hardware
from torch_lab.utils.launched import Launch


class Company(Protocol):
    """Who starts the processes, and knows when all are there."""

    @property
    def launch(self) -> Launch | None:
        """How they were started, if not by rank 0."""

    def start(
        self, rank: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start the process of a rank."""

    def gather(self) -> None:
        """Return when all have come as far as this one."""


class _Launcher(_SubprocessScriptLauncher):
    company: Company

    def launch(
        self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any
    ) -> Any:
        environment = self.cluster_environment
        environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not environment.creates_processes_externally:
            self._call_children_scripts()
        self.company.gather()
        hardware.share_threads(self.num_processes, self.company.launch)
        return function(*args, **kwargs)

    def _call_children_scripts(self) -> None:
        self._check_can_spawn_children()
        environment = self.cluster_environment
        os.environ["MASTER_ADDR"] = environment.main_address
        os.environ["MASTER_PORT"] = str(environment.main_port)
        os.environ["NODE_RANK"] = str(environment.node_rank())
        os.environ["LOCAL_RANK"] = str(environment.local_rank())
        os.environ["WORLD_SIZE"] = str(self.num_processes * self.num_nodes)
        for rank in range(1, self.num_processes):
            own = {**os.environ, "LOCAL_RANK": str(rank)}
            self.procs.append(self.company.start(rank, _basic_subprocess_cmd(), own))


def launch_by(trainer: pl.Trainer, company: Company) -> None:
    """Let `company` start the other ranks, where the strategy has them started at all."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        own = _Launcher(launcher.cluster_environment, launcher.num_processes, launcher.num_nodes)
        own.company = company
        trainer.strategy._launcher = own
