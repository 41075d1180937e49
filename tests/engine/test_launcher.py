"""Lightning's launcher of other ranks, with the processes started and watched by somebody else."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from torch_lab.engine import lightning
from torch_lab.engine.ranks import Lead
from torch_lab.engine.stop import StopRequest
from torch_lab.engine.trainer import build
from torch_lab.errors import ConfigurationError


class Company(Lead):
    """Starts processes that end at once, and notes what they were to be."""

    def __init__(self) -> None:
        super().__init__(StopRequest())
        self.seen: list[tuple[int, list[str], Mapping[str, str]]] = []
        self.gathered = 0

    def start(
        self, rank: int, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        self.seen.append((rank, list(command), environment))
        return subprocess.Popen([sys.executable, "-S", "-c", ""])

    def gather(self) -> None:
        self.gathered += 1


def trainer(tmp_path: Path, company: Company, **init: Any) -> Any:
    init = {"accelerator": "cpu", "devices": 3, "strategy": "ddp", **init}
    return build(init, [], directory=tmp_path, logger=None, ranks=company)


def test_others_are_started_once_and_with_lightnings_environment(tmp_path: Path) -> None:
    company = Company()
    made = trainer(tmp_path, company)
    launcher = made.strategy.launcher
    assert [launcher.launch(lambda x: x + 1, 1, trainer=made) for _ in range(2)] == [2, 2]
    assert company.gathered == 2
    assert [rank for rank, _, _ in company.seen] == [1, 2]
    for rank, command, environment in company.seen:
        assert command[0] == sys.executable
        told = {name: environment[name] for name in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")}
        assert told == {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "3"}
        assert environment["MASTER_ADDR"]
        assert environment["MASTER_PORT"] == os.environ["MASTER_PORT"]
    assert len(launcher.procs) == 2
    for each in launcher.procs:
        each.wait()


def test_it_takes_the_place_of_what_lightning_calls() -> None:
    """What Lightning's own does is done in its place: no more, no less."""
    source = inspect.getsource(_SubprocessScriptLauncher.launch)
    for line in (
        "self.cluster_environment.validate_settings(",
        "if not self.cluster_environment.creates_processes_externally:",
        "self._call_children_scripts()",
        "_launch_process_observer(self.procs)",
        "_set_num_threads_if_needed(num_processes=self.num_processes)",
        "return function(*args, **kwargs)",
    ):
        assert line in source
    own = _SubprocessScriptLauncher._call_children_scripts
    names = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
    assert all(f'os.environ["{name}"]' in inspect.getsource(own) for name in names)


def test_one_process_has_no_launcher(tmp_path: Path) -> None:
    assert trainer(tmp_path, Company(), devices=1, strategy="auto").strategy.launcher is None


def test_strategies_given_as_objects_are_started_likewise(tmp_path: Path) -> None:
    company = Company()
    made = trainer(tmp_path, company, strategy=DDPStrategy(find_unused_parameters=True))
    assert isinstance(made.strategy.launcher, lightning.launcher._Launcher)


def test_several_machines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        trainer(tmp_path, Company(), num_nodes=2)
    assert str(caught.value) == (
        "trainer.init.num_nodes: 2 machines; this version joins only the processes of one into a"
        " run\nLeave it out, and say with devices how many processes there are to be."
    )
