"""A loss that is no number ends training, and reaches no checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from torch_lab.callbacks import NanMonitor
from torch_lab.errors import NonFiniteLoss, RunError

BATCHES = 8


class Module(pl.LightningModule):
    """Two epochs of eight batches; in one of them, counted over both, something goes wrong."""

    def __init__(self, at: int, loss: float = float("nan"), *, weights: bool = False) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)
        self.at, self.wrong, self.weights = at, loss, weights
        self.batch = -1

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.batch += 1
        loss = self.net(batch[0]).mean()
        if self.batch != self.at:
            return loss
        if self.weights:
            self.net.weight.register_hook(lambda gradient: gradient * float("inf"))
            return loss
        return loss * self.wrong

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def collate(samples: list[int]) -> Any:
    return torch.ones(len(samples), 1), {"index": torch.tensor(samples)}


def fit(folder: Path, module: pl.LightningModule, *callbacks: pl.Callback, **kwargs: Any) -> None:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    kwargs = {"max_epochs": 2, "accelerator": "cpu", "default_root_dir": folder} | quiet | kwargs
    kwargs["enable_checkpointing"] = any(isinstance(c, ModelCheckpoint) for c in callbacks)
    data = DataLoader(range(2 * BATCHES), batch_size=2, collate_fn=collate)  # type: ignore[arg-type]
    pl.Trainer(callbacks=list(callbacks), **kwargs).fit(module, data)


@pytest.mark.parametrize("every", [1, 3, 50])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_the_batch_and_its_samples_are_named(tmp_path: Path, every: int, wrong: float) -> None:
    module = Module(at=BATCHES + 3, loss=wrong)
    with pytest.raises(NonFiniteLoss, match=r"in epoch 2, batch 4, samples 6, 7") as caught:
        fit(tmp_path, module, NanMonitor(every))
    assert isinstance(caught.value, RunError)
    assert "gradient_clip_val" in str(caught.value)
    assert module.batch - (BATCHES + 3) < every


def test_finite_losses_pass(tmp_path: Path) -> None:
    module = Module(at=-1)
    fit(tmp_path, module, NanMonitor(3))
    assert module.batch == 2 * BATCHES - 1


def test_it_reaches_no_checkpoint_of_a_callback(tmp_path: Path) -> None:
    keep_all = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(NonFiniteLoss):
        fit(tmp_path, Module(at=3), NanMonitor(50), keep_all)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step={n}.ckpt" for n in (1, 2, 3)]


def test_nor_one_made_because_of_it(tmp_path: Path) -> None:
    rescue = ModelCheckpoint(tmp_path, "{step}", every_n_epochs=9, save_on_exception=True)
    with pytest.raises(NonFiniteLoss):
        fit(tmp_path, Module(at=3), NanMonitor(1), rescue)
    assert list(tmp_path.iterdir()) == []


def test_weights_spoiled_by_a_finite_loss_are_named(tmp_path: Path) -> None:
    keep_all = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(NonFiniteLoss, match=r"weights .* epoch 1, step 4, .*: net\.weight"):
        fit(tmp_path, Module(at=3, weights=True), NanMonitor(50), keep_all)
    assert not (tmp_path / "step=4.ckpt").exists()


def test_large_and_frozen_weights_pass(tmp_path: Path) -> None:
    module = Module(at=-1)
    module.large = nn.Parameter(torch.full((4,), 3e38))  # their sum overflows
    module.frozen = nn.Parameter(torch.tensor(float("nan")), requires_grad=False)
    module.whole = nn.Parameter(torch.tensor([1]), requires_grad=False)
    fit(tmp_path, module, NanMonitor(), ModelCheckpoint(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1


class TestWhatIsSeen:
    """Outputs of many kinds, one batch at a time."""

    def see(self, outputs: Any, batch: Any) -> str:
        monitor = NanMonitor(every=1)
        trainer = type("Trainer", (), {"current_epoch": 2})()
        try:
            monitor.on_train_batch_end(trainer, None, outputs, batch, 5)  # type: ignore[arg-type]
        except NonFiniteLoss as error:
            return error.message
        return ""

    @pytest.mark.parametrize(
        ("batch", "samples"),
        [
            ((1, {"index": torch.tensor([3, 4])}), ", samples 3, 4"),
            ((1, {"index": torch.tensor(3)}), ", sample 3"),
            ((1, {"index": torch.arange(20).reshape(10, 2)}), ", samples 0, 1, 2, 3, 4, 5, 6, 7"),
            ((1, {"index": ["a.png", "b.png"]}), ", samples a.png, b.png"),
            ((1, {"index": 7}), ", sample 7"),
            ((1, {"y": 7}), ""),
            (torch.ones(2), ""),
            ((1,), ""),
        ],
    )
    def test_samples(self, batch: Any, samples: str) -> None:
        said = self.see({"loss": torch.tensor(float("nan"))}, batch)
        assert said.startswith(f"the loss became nan in epoch 3, batch 6{samples}")
        assert ("and 12 more" in said) is (said.count(",") > 8)

    @pytest.mark.parametrize(
        "outputs", [None, {}, {"loss": None}, {"loss": 1.0}, {"loss": torch.tensor(1.0)}]
    )
    def test_no_loss_or_a_good_one(self, outputs: Any) -> None:
        assert self.see(outputs, None) == ""

    def test_a_bare_tensor_and_one_with_several_values(self) -> None:
        assert self.see(torch.tensor(float("inf")), None).startswith("the loss became inf")
        assert self.see(torch.tensor([1.0, float("nan")]).half(), None)
