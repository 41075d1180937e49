"""What an exception in training leaves for a debugger, and when there is nothing to leave."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from torch_lab.callbacks import NanMonitor, RunCheckpoint
from torch_lab.checkpoints.keeper import SavePoint
from torch_lab.data import DataLoader
from torch_lab.engine import trainer as trainers
from torch_lab.engine.savepoints import SavePoints
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import ConfigurationError, NonFiniteLoss, SaveFailed, Stopped

X = torch.linspace(-1, 1, 24).reshape(12, 2)


class Shelf:
    """Takes what is written; it may fail."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder = folder
        self.error = error
        self.kept: list[tuple[dict[str, Any], SavePoint]] = []

    def keep_crash(self, contents: dict[str, Any], point: SavePoint) -> None:
        if self.error is not None:
            raise self.error
        self.kept.append((contents, point))

    def path(self, batch: int) -> Path:
        return self.folder / f"step-{batch}.ckpt"

    def finish(self, draft: Path, point: SavePoint) -> None:
        draft.replace(self.path(point.batch))

    def raise_if_failed(self) -> None: ...

    def wait(self) -> None: ...


class Module(pl.LightningModule):
    """Three epochs of three batches."""

    def __init__(self, loss: float = 1.0) -> None:
        super().__init__()
        self.net = nn.Linear(2, 1)
        self.times = loss

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        third = self.trainer.global_step == 3
        return self.net(batch).square().mean() * (self.times if third else 1)

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        halving = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
        return [optimizer], [halving]


class Raising(pl.Callback):
    """Raises in one of its hooks, at an optimizer step."""

    def __init__(self, hook: str, step: int, error: BaseException) -> None:
        def act(trainer: pl.Trainer, *_: Any, **__: Any) -> None:
            if trainer.global_step == step and trainer.state.fn == "fit":
                self.act(trainer)
                raise error

        setattr(self, hook, act)

    def act(self, trainer: pl.Trainer) -> None: ...


class Spoiling(Raising):
    def act(self, trainer: pl.Trainer) -> None:
        trainer.lightning_module.net.bias.data.fill_(float("inf"))


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    """Lightning leaves SIGINT ignored when a KeyboardInterrupt has ended a training."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def failed(shelf: Shelf, *callbacks: pl.Callback, module: Module | None = None) -> BaseException:
    """How training ended."""
    nan, policy = NanMonitor(), RunCheckpoint()
    points = SavePoints(policy, nan, StopRequest(30), shelf)
    init = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
    init |= {"num_sanity_val_steps": 0}
    every = [*callbacks, nan, policy]
    trainer = trainers.build(init, every, directory=shelf.folder, logger=None, savepoints=points)
    data = DataLoader(list(X), 4, shuffle=True, seed=7)
    with trainers.quiet(), pytest.raises(BaseException) as caught:  # noqa: PT011 - many kinds
        trainer.fit(module or Module(), data, DataLoader(list(X), 12, seed=7))
    return caught.value


@pytest.mark.parametrize(
    ("hook", "step", "stage", "batch"),
    [
        ("on_train_batch_start", 0, "train", 0),
        ("on_train_batch_start", 4, "train", 1),
        ("on_before_optimizer_step", 5, "train", 2),
        ("on_validation_batch_start", 6, "validate", 0),
        ("on_validation_epoch_end", 6, "validate", None),
        ("on_train_epoch_end", 3, "train", None),
    ],
)
def test_where_it_was(tmp_path: Path, hook: str, step: int, stage: str, batch: int | None) -> None:
    shelf = Shelf(tmp_path)
    error = failed(shelf, Raising(hook, step, ValueError("the secret token=abc of it")))
    ((contents, point),) = shelf.kept
    assert (point.step, contents["global_step"]) == (step, step)
    assert point.epoch == contents["epoch"]
    found = contents["crash"]
    assert (found["format"], found["stage"], found["batch"]) == (1, stage, batch)
    assert "ValueError: the secret token=*** of it\nin " in found["exception"]
    assert (found["samples"] is None) is (batch is None)
    assert "torch_lab" not in contents  # it is no training state
    assert not any("could not" in note for note in error.__notes__)


def test_what_a_debugger_needs(tmp_path: Path) -> None:
    shelf, module = Shelf(tmp_path), Module()
    failed(shelf, Raising("on_train_batch_start", 4, ValueError()), module=module)
    contents, point = shelf.kept[0]
    assert torch.equal(contents["state_dict"]["net.weight"], module.net.weight)
    assert contents["optimizer_states"][0]["state"][0]["step"] == 4
    assert contents["lr_schedulers"][0]["last_epoch"] == 1
    assert len(contents["crash"]["samples"]) == 4
    assert set(contents["crash"]["random"]) >= {"python", "numpy", "torch"}
    assert point.batch == 5  # the one under way


@pytest.mark.parametrize(
    "callback",
    [
        Raising("on_fit_start", 0, ValueError("nothing is trained yet")),
        Raising("on_train_batch_start", 4, KeyboardInterrupt()),
        Raising("on_train_batch_start", 4, SystemExit(1)),
        Raising("on_train_batch_start", 4, Stopped(15)),
        Raising("on_train_batch_start", 4, ConfigurationError("a mistake")),
        Raising("on_train_batch_start", 4, SaveFailed("a full disk")),
        Spoiling("on_train_batch_start", 4, ValueError("weights that are no numbers")),
    ],
    ids=lambda each: "",
)
def test_none_where_there_is_nothing_to_look_into(tmp_path: Path, callback: pl.Callback) -> None:
    shelf = Shelf(tmp_path)
    error = failed(shelf, callback)
    assert shelf.kept == []
    assert not any("could not" in note for note in getattr(error, "__notes__", ()))


def test_a_second_failure_is_a_note(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, OSError("no space left"))
    error = failed(shelf, Raising("on_train_batch_start", 4, ValueError("the first")))
    assert str(error) == "the first"
    assert "crash.ckpt could not be written: no space left" in error.__notes__


def test_a_loss_that_is_none(tmp_path: Path) -> None:
    """It spoils the weights, and then nothing holds them; else its batch is told."""
    shelf = Shelf(tmp_path)
    assert isinstance(failed(shelf, module=Module(float("nan"))), NonFiniteLoss)
    assert shelf.kept == []

    class Frozen(Module):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            for parameter in self.parameters():
                parameter.grad = None

    error = failed(shelf, module=Frozen(float("inf")))
    assert isinstance(error, NonFiniteLoss)
    found = shelf.kept[0][0]["crash"]
    assert (error.epoch, error.batch, found["batch"]) == (1, 0, 0)
    assert found["samples"] == error.samples


def test_a_file_of_weights_alone_holds_them_neither(tmp_path: Path) -> None:
    """Lightning asks no callback about those."""
    saved = ModelCheckpoint(
        tmp_path / "mine", "{step}", every_n_train_steps=1, save_top_k=-1, save_weights_only=True
    )
    error = failed(Shelf(tmp_path), saved, module=Module(float("nan")))
    assert isinstance(error, NonFiniteLoss)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        f"step={step}.ckpt" for step in (1, 2, 3)
    ]
