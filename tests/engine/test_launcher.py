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
from pytorch_lightning.strategies import (
    DDPStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from torch_lab.engine import lightning, saves
from torch_lab.engine.plugins import SafeCheckpointIO
from torch_lab.engine.ranks import Lead
from torch_lab.engine.stop import StopRequest
from torch_lab.engine.trainer import build, refuse_what_cannot_join
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


def test_an_object_that_is_to_spawn_is_refused(tmp_path: Path) -> None:
    asked = DDPStrategy(start_method="spawn")
    made = trainer(tmp_path, Company(), strategy=asked)
    with pytest.raises(ConfigurationError) as caught:
        refuse_what_cannot_join(made, {"strategy": asked})
    assert str(caught.value) == (
        "trainer.init.strategy: DDPStrategy spawns its processes, which can't take over the run's"
        ' open journal and lock\nUse "ddp" instead: its processes start by themselves.'
    )


def test_strategies_given_as_objects_are_started_likewise(tmp_path: Path) -> None:
    company = Company()
    made = trainer(tmp_path, company, strategy=DDPStrategy(find_unused_parameters=True))
    assert isinstance(made.strategy.launcher, lightning.launcher._Launcher)


@pytest.mark.parametrize(
    ("strategy", "fix"),
    [
        (FSDPStrategy(state_dict_type="sharded"), 'state_dict_type="full"'),
        (ModelParallelStrategy(), "save_distributed_checkpoint=False"),
    ],
)
def test_shards_are_not_saved_as_such(tmp_path: Path, strategy: Strategy, fix: str) -> None:
    name = type(strategy).__name__
    with pytest.raises(ConfigurationError) as caught:
        trainer(tmp_path, Company(), strategy=strategy)
    assert str(caught.value) == (
        f"trainer.init.strategy: {name} would save each process's part of the weights for itself,"
        f" in a form that only pickle reads\nLet it save the whole: {name}({fix})."
    )


def test_a_draft_of_a_strategy_that_hands_no_options_on(tmp_path: Path) -> None:
    made, files = trainer(tmp_path, Company(), strategy=DDPStrategy()), SafeCheckpointIO()
    made.strategy.checkpoint_io = files
    assert not lightning.shards(made)
    made.strategy.__class__ = type("Sharded", (DDPStrategy, FSDPStrategy), {})
    with saves.riding_along(made, draft := saves.Draft(wanted=True)) as options:
        assert options is None
        files.save_checkpoint({"state_dict": {}}, tmp_path / "step-1.ckpt")
    assert draft.path is not None
    assert not (tmp_path / "step-1.ckpt").exists()
    assert files.draft is None


def test_a_command_started_by_itself_is_on_one_machine(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        trainer(tmp_path, Company(), num_nodes=2)
    assert str(caught.value) == (
        "trainer.init.num_nodes: 2 machines, but this command was started by itself, on one\n"
        "torchrun starts it on each: torchrun --nnodes 2 --nproc-per-node gpu --rdzv-backend c10d"
        " --rdzv-endpoint HOST:29400 -m torch_lab train …; in a Slurm job: srun --nodes 2 train …"
    )


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_notebook_find_unused_parameters_true"])
def test_processes_are_always_started_so(tmp_path: Path, strategy: str) -> None:
    made = trainer(tmp_path, Company(), strategy=strategy)
    assert isinstance(made.strategy.launcher, lightning.launcher._Launcher)
    unused = made.strategy._ddp_kwargs.get("find_unused_parameters", False)
    assert unused == strategy.endswith("true")
