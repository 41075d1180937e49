"""What a batch is spared must not be missed: hooks with content, profilers, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import PassThroughProfiler, SimpleProfiler

from torch_lab.callbacks import NanMonitor, RunCheckpoint
from torch_lab.engine import trainer as trainers
from torch_lab.engine.savepoints import SavePoints
from torch_lab.engine.stop import StopRequest

BATCHES = 3


class Module(pl.LightningModule):
    """Its step takes no index."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen: list[Any] = []

    def training_step(self, batch: Any) -> torch.Tensor:
        self.seen.append(None)
        return self.layer(batch).mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Indexed(Module):
    """Its step takes the index, under a name of its own."""

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        self.seen.append(number)
        return self.layer(batch).mean()


class Watching(RunCheckpoint):
    """One of the run's own callbacks, with a hook added by a user."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[str] = []

    def on_before_zero_grad(self, *args: Any) -> None:
        self.hooks.append("zero_grad")

    def on_train_batch_start(self, *args: Any) -> None:
        self.hooks.append("start")


def fit(folder: Path, module: Module, policy: RunCheckpoint, **init: Any) -> pl.Trainer:
    nan = NanMonitor()
    policy.fill(every_n_steps=None, every_minutes=None, keep=1)
    trainer = trainers.build(
        {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False} | init,
        [nan, policy],
        directory=folder,
        logger=None,
        savepoints=SavePoints(policy, nan, StopRequest(1.0), None),
    )
    with trainers.quiet():
        trainer.fit(module, torch.utils.data.DataLoader(torch.ones(BATCHES, 2)))
    return trainer


def test_a_step_gets_the_index_if_it_takes_one(tmp_path: Path) -> None:
    without, indexed = Module(), Indexed()
    fit(tmp_path, without, RunCheckpoint())
    fit(tmp_path, indexed, RunCheckpoint())
    assert without.seen == [None] * BATCHES * 2
    assert indexed.seen == [*range(BATCHES)] * 2


def test_hooks_with_content_are_called(tmp_path: Path) -> None:
    policy = Watching()
    fit(tmp_path, Module(), policy)
    assert policy.hooks == ["start", "zero_grad"] * BATCHES * 2
    assert policy.on_after_backward is None  # idle: Lightning passes over it


def test_a_users_profiler_profiles(tmp_path: Path) -> None:
    trainer = fit(tmp_path, Module(), RunCheckpoint(), profiler="simple")
    assert isinstance(trainer.profiler, SimpleProfiler)
    assert "run_training_epoch" in trainer.profiler.recorded_durations


def test_without_one_nothing_is_profiled(tmp_path: Path) -> None:
    trainer = fit(tmp_path, Module(), RunCheckpoint(), profiler=None)
    assert isinstance(trainer.profiler, PassThroughProfiler)
    with trainer.profiler.profile("anything") as action:
        assert action is None
