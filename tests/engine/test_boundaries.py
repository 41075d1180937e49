"""Save points in Lightning's loops: when they are reached, and that a run goes on from each."""

from __future__ import annotations

import inspect
import os
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
)
from pytorch_lightning.loggers import WandbLogger
from torch import nn
from torch.utils.data import Dataset

from helpers import digest
from torch_lab.callbacks import NanMonitor, RunCheckpoint
from torch_lab.checkpoints.keeper import SavePoint
from torch_lab.data import DataLoader
from torch_lab.engine import lightning, trainer
from torch_lab.engine.lightning import finders, loops
from torch_lab.engine.logger import RunLogger
from torch_lab.engine.savepoints import SavePoints
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import NonFiniteLoss, Stopped

SAMPLES, BATCH, EPOCHS = 40, 8, 3


class Data(Dataset[Any]):
    def __init__(self) -> None:
        self.x = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(5))

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.x[i] + 0.1 * torch.randn(4) * random.random() + float(np.random.rand())
        return x, (self.x[i].sum() > 0).long()


class Plain(pl.LightningModule):
    """Anybody's module: dropout, self.log, a metric of its own, state in hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2))
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=2)
        self.register_buffer("hooks", torch.zeros(3))

    def loss(self, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.accuracy(self.net(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("largest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        self.log("accuracy", self.accuracy, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_start(self) -> None:
        self.hooks[0] += 1

    def on_train_batch_end(self, *args: Any) -> None:
        self.hooks[1] = self.hooks[1] * 0.9 + self.net[0].weight.detach().mean()

    def on_train_epoch_end(self) -> None:
        self.hooks[2] += 1

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 1e-2)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)
        return [optimizer], [{"scheduler": plateau, "monitor": "val_loss"}]


class TwoOptimizers(Plain):
    """Steps its optimizers by hand, one of them every other batch: gradients wait in between."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.other = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        loss = self.loss(batch)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        self.manual_backward(self.other(batch[0]).square().mean())
        if batch_idx % 2:
            second.step()
            second.zero_grad()
        self.log("loss", loss)

    def configure_optimizers(self) -> Any:
        return [
            torch.optim.Adam(self.net.parameters(), 1e-2),
            torch.optim.SGD(self.other.parameters(), 0.1, momentum=0.9),
        ]


class Rows:
    def __init__(self, batch: Callable[[], int]) -> None:
        self.batch = batch
        self.rows: list[tuple[int, int, int, dict[str, float]]] = []

    def scalars(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        self.rows.append((self.batch(), step, epoch, dict(values)))


class Folder:
    """Keeps every checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points: list[SavePoint] = []

    def path(self, batch: int) -> Path:
        return self.folder / f"step-{batch}.ckpt"

    def finish(self, draft: Path, point: SavePoint) -> None:
        draft.replace(self.path(point.batch))
        self.points.append(point)

    def raise_if_failed(self) -> None: ...

    def wait(self) -> None: ...


class Run:
    """One fit with save points, in this process."""

    def __init__(self, folder: Path, kind: type[Plain], *callbacks: pl.Callback, **init: Any):
        pl.seed_everything(1, verbose=False)
        self.module, self.saver = kind(), Folder(folder)
        self.rows = Rows(lambda: self.points.in_batch)
        self.stop = StopRequest(30, folder / "console.log")
        self.policy, nan = RunCheckpoint(every_n_steps=1), NanMonitor()
        self.points = SavePoints(self.policy, nan, self.stop, self.saver)
        logger = RunLogger(folder, self.rows)
        init = {"max_epochs": EPOCHS, "accelerator": "cpu", "log_every_n_steps": 2} | init
        init |= {"num_sanity_val_steps": 0, "enable_progress_bar": False}
        every = [*callbacks, nan, self.policy]
        self.trainer = trainer.build(
            init, every, directory=folder, logger=logger, savepoints=self.points
        )

    def fit(self, checkpoint: Path | None = None) -> Run:
        with trainer.quiet():
            self.trainer.fit(
                self.module,
                DataLoader(Data(), BATCH, shuffle=True, seed=7),
                DataLoader(Data(), 16, seed=7),
                ckpt_path=checkpoint,
            )
        return self

    def state(self) -> str:
        optimizers = [each.state_dict() for each in self.trainer.optimizers]
        return digest([self.module.state_dict(), optimizers])


@pytest.mark.parametrize("kind", [Plain, TwoOptimizers])
@pytest.mark.parametrize(
    "init",
    [
        {},
        {"val_check_interval": 2},
        {"accumulate_grad_batches": 3},  # the last window is shorter
        {"max_steps": 12, "max_epochs": -1},
        {"limit_train_batches": 3, "val_check_interval": 0.5},
        {"check_val_every_n_epoch": None, "val_check_interval": 3},
    ],
    ids=lambda init: ", ".join(f"{k}={v}" for k, v in init.items()) or "plain",
)
def test_every_boundary_resumes_exactly(
    tmp_path: Path, kind: type[Plain], init: dict[str, Any]
) -> None:
    if kind is TwoOptimizers and "accumulate_grad_batches" in init:
        pytest.skip("Lightning accumulates only under automatic optimization")
    if kind is TwoOptimizers and "max_steps" in init:
        init = init | {"max_steps": 18}
    if kind is Plain and init.get("check_val_every_n_epoch", 1) is None:
        kind = NoScheduler
    whole = Run(tmp_path, kind, EarlyStopping("val_loss", patience=90), **init).fit()
    assert len(whole.saver.points) >= 9
    for point in whole.saver.points[:-1]:
        cut = Run(tmp_path / "cut", kind, EarlyStopping("val_loss", patience=90), **init)
        cut.fit(whole.saver.path(point.batch))
        assert cut.state() == whole.state(), point
        assert cut.rows.rows == [row for row in whole.rows.rows if row[0] > point.batch], point


class NoScheduler(Plain):
    """A plateau scheduler has nothing to look at before the first validation."""

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-2)


class Order(pl.Callback):
    """Notes hooks and boundaries as they come."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        self.seen.append("epoch start")

    def on_train_epoch_end(self, *args: Any) -> None:
        self.seen.append("epoch end")

    def on_validation_end(self, *args: Any) -> None:
        self.seen.append("validation")

    def on_train_batch_end(self, *args: Any) -> None:
        self.seen.append("batch")


def test_a_boundary_comes_after_everything_of_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order()
    run = Run(tmp_path, Plain, order, max_epochs=2, limit_train_batches=2, val_check_interval=1)
    reached = run.points.reached

    def noting(*, epoch_end: bool) -> None:
        order.seen.append("BOUNDARY")
        reached(epoch_end=epoch_end)

    monkeypatch.setattr(run.points, "reached", noting)
    run.fit()
    epoch = ["epoch start", "batch", "validation", "BOUNDARY"]
    epoch += ["batch", "validation", "epoch end", "BOUNDARY"]
    assert order.seen == epoch * 2


def test_saving_changes_nothing(tmp_path: Path) -> None:
    saving = Run(tmp_path, Plain).fit()
    bare = Run(tmp_path / "bare", Plain)
    bare.policy.every_n_steps = None
    bare.policy.due = lambda *args, **kwargs: False  # type: ignore[method-assign]
    assert bare.fit().state() == saving.state()
    assert bare.rows.rows == saving.rows.rows


def test_a_signal_ends_the_run_at_a_boundary(tmp_path: Path) -> None:
    class Signal(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            if trainer.global_step == 7:
                os.kill(os.getpid(), 15)

    run = Run(tmp_path, Plain, Signal())
    run.policy.every_n_steps = None
    with run.stop.listening(), pytest.raises(Stopped):
        run.fit()
    assert [point.batch for point in run.saver.points] == [5, 7]
    whole = Run(tmp_path / "whole", Plain).fit()
    resumed = Run(tmp_path / "resumed", Plain).fit(run.saver.path(7))
    assert resumed.state() == whole.state()


def test_a_nan_never_reaches_a_checkpoint(tmp_path: Path) -> None:
    class Bad(Plain):
        def loss(self, batch: Any) -> torch.Tensor:
            nan = torch.tensor(float("nan"))
            return super().loss(batch) * (nan if self.trainer.global_step == 6 else 1)

    run = Run(tmp_path, Bad)
    run.policy.every_n_steps = 4
    with pytest.raises(NonFiniteLoss, match="nan in epoch 2, batch 2, samples"):
        run.fit()
    assert [point.batch for point in run.saver.points] == [4, 5]


def test_checkpoints_of_lightnings_own_callback_go_on_too(tmp_path: Path) -> None:
    def mine() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path / "mine", "{step}", every_n_train_steps=4, save_top_k=-1)

    Run(tmp_path, Plain, mine()).fit()
    path = tmp_path / "mine" / "step=4.ckpt"
    loaded = torch.load(path, weights_only=True)
    assert not loaded["torch_lab"]["boundary"]
    resumed = Run(tmp_path / "resumed", Plain, mine()).fit(path)
    assert resumed.trainer.global_step == 15


def test_best_is_what_was_validated(tmp_path: Path) -> None:
    run = Run(tmp_path, Plain, val_check_interval=2, accumulate_grad_batches=4).fit()
    for point in run.saver.points:
        if point.best:
            values = torch.load(run.saver.path(point.batch), weights_only=True)
            assert values["callbacks"]["RunCheckpoint"]["best_value"] == point.metrics["val_loss"]
    assert any(point.best for point in run.saver.points)


def test_the_private_parts_are_where_they_were() -> None:
    """Fails by name when a new Lightning moves what engine/lightning/ touches."""
    with tempfile.TemporaryDirectory() as folder:
        fit = Run(Path(folder), Plain).trainer.fit_loop
    assert isinstance(fit, loops._Fit)
    assert isinstance(fit.epoch_loop, loops._Epoch)
    for loop, names in {
        fit: ["_restarting", "epoch_progress", "restarted_mid_epoch", "_should_accumulate"],
        fit.epoch_loop: ["batch_progress", "val_loop", "_results", "on_advance_end", "done"],
    }.items():
        for name in names:
            assert hasattr(loop, name), name
    for name in ("_callback_metrics", "_logged_metrics", "_first_loop_iter"):
        assert hasattr(fit.trainer._logger_connector, name), name
    assert fit.trainer._checkpoint_connector._user_managed is False
    assert hasattr(fit, "_combined_loader")
    assert callable(finders.lr_finder.tqdm)
    assert "self._wandb_init" in inspect.getsource(WandbLogger.__init__)
    for finder in (LearningRateFinder(attr_name="rate"), BatchSizeFinder(batch_arg_name="size")):
        found = lightning.finder_of(finder)
        assert found is not None
        assert callable(getattr(finder, found.method))
        assert found.attribute in ("rate", "size")
    assert lightning.finder_of(EarlyStopping("x")) is None


def test_weights_that_the_end_of_training_sets_are_saved(tmp_path: Path) -> None:
    class Doubling(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            with torch.no_grad():
                pl_module.net[0].weight.mul_(2)

    run = Run(tmp_path, Plain, Doubling()).fit()
    assert [point.batch for point in run.saver.points][-2:] == [15, 15]
    saved = torch.load(run.saver.path(15), weights_only=True)["state_dict"]
    assert torch.equal(saved["net.0.weight"], run.module.net[0].weight)


def test_what_is_logged_now_and_then_is_repeated_alike(tmp_path: Path) -> None:
    class Sometimes(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            if batch_idx % 2:
                self.log("odd", float(batch_idx), on_step=True)
            return super().training_step(batch, batch_idx)

    whole = Run(tmp_path, Sometimes, log_every_n_steps=1).fit()
    for point in whole.saver.points[:-1]:
        cut = Run(tmp_path / "cut", Sometimes, log_every_n_steps=1)
        cut.fit(whole.saver.path(point.batch))
        assert cut.rows.rows == [row for row in whole.rows.rows if row[0] > point.batch], point


def test_a_change_through_data_is_noticed(tmp_path: Path) -> None:
    class Swapping(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            pl_module.net[0].weight.data.mul_(2)  # leaves torch's version counter alone

    run = Run(tmp_path, Plain, Swapping()).fit()
    saved = torch.load(run.saver.path(15), weights_only=True)["state_dict"]
    assert torch.equal(saved["net.0.weight"], run.module.net[0].weight)
