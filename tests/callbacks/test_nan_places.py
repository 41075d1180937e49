"""NaN and infinity wherever they come up: by hand, in gradients, in validation, in a sample."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from torch_lab.callbacks import NanMonitor
from torch_lab.callbacks.nan import spoiled
from torch_lab.callbacks.samples import drawn, numbered
from torch_lab.data import DataLoader
from torch_lab.errors import NonFiniteLoss
from torch_lab.modules import TrainLabModule

NAN, INF = float("nan"), float("inf")
SAMPLES, BATCH = 16, 4


class Module(pl.LightningModule):
    """Four batches an epoch; `at` counts them over all epochs."""

    def __init__(self, at: int = -1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1))
        self.at, self.batch = at, -1

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.batch += 1
        return self.net(batch["x"]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class Data(torch.utils.data.Dataset[Any]):
    """Its samples are numbers; one of them may be none."""

    def __init__(self, bad: int = -1, value: float = NAN) -> None:
        self.bad, self.value = bad, value

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, i: int) -> Any:
        x = torch.tensor([i / SAMPLES]) + 0.01 * torch.randn(1)
        return {"x": x * self.value if i == self.bad else x, "y": torch.tensor([float(i)])}


def fit(folder: Path, module: pl.LightningModule, *callbacks: pl.Callback, **kwargs: Any) -> str:
    """Train until the loss is no number; the words for that."""
    data = kwargs.pop("data", None) or DataLoader(Data(), BATCH, seed=3, shuffle=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    kwargs = {"max_epochs": 2, "accelerator": "cpu", "default_root_dir": folder} | quiet | kwargs
    kwargs["enable_checkpointing"] = any(isinstance(c, ModelCheckpoint) for c in callbacks)
    with pytest.raises(NonFiniteLoss) as caught:
        pl.Trainer(callbacks=list(callbacks), **kwargs).fit(module, data)
    return caught.value.message


# -- whose loss ------------------------------------------------------------------------------


class ByHand(Module):
    """Two optimizers stepped by hand; nothing is returned."""

    def __init__(self, at: int, second: float = NAN) -> None:
        super().__init__(at)
        self.automatic_optimization = False
        self.second = second

    def training_step(self, batch: Any, batch_idx: int) -> None:
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss, retain_graph=True)
        self.manual_backward(loss * (self.second if self.batch == self.at else 1))
        self.optimizers().step()
        self.optimizers().zero_grad()


def test_losses_of_a_module_that_steps_by_hand(tmp_path: Path) -> None:
    words = fit(tmp_path, ByHand(at=5), NanMonitor())
    assert words.startswith("the loss (number 2 of 2) became nan in epoch 2, batch 2, samples ")


def test_one_that_returns_its_loss_is_not_counted_twice(tmp_path: Path) -> None:
    class Returns(ByHand):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            return {"loss": torch.tensor(1.0)}

    assert "(number 2 of 2)" in fit(tmp_path, Returns(at=5), NanMonitor())


def test_under_accumulation_it_is_the_batch_not_the_step(tmp_path: Path) -> None:
    class Once(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * (INF if self.batch == 1 else 1)

    words = fit(tmp_path, Once(), NanMonitor(), accumulate_grad_batches=4)
    assert words.startswith("the loss became inf in epoch 1, batch 2, samples ")


def test_several_loaders_name_the_samples_of_each(tmp_path: Path) -> None:
    class Both(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch["a"], batch_idx) * (NAN if batch_idx == 1 else 1)

    loaders = {"a": DataLoader(Data(), BATCH, seed=1), "b": DataLoader(Data(), 2, seed=1)}
    words = fit(tmp_path, Both(), NanMonitor(1), data=loaders)
    assert words == (
        "the loss became nan in epoch 1, batch 2, samples 4, 5, 6, 7 of 'a'; samples 2, 3 of 'b'"
    )


def test_of_loaders_that_do_not_say_nothing_is_told() -> None:
    exact = DataLoader(Data(), BATCH, seed=1)
    assert drawn([{"a": exact, "b": [1, 2]}], 0) == {"a": [0, 1, 2, 3]}
    assert drawn([{"a": [1]}], 0) is None
    assert drawn([[exact, exact]], 0, epoch=3) is None
    assert numbered({0: [1]}) == "sample 1 of 0"


def test_a_second_fit_begins_anew(tmp_path: Path) -> None:
    watch = NanMonitor()
    fit(tmp_path, ByHand(at=0), watch)
    plain: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    plain |= {"enable_progress_bar": False, "enable_model_summary": False}
    module = Module()
    trainer = pl.Trainer(callbacks=[watch], max_epochs=1, **plain)
    trainer.fit(module, DataLoader(Data(), BATCH, seed=3))
    assert module.batch == 3


# -- gradients -------------------------------------------------------------------------------


class Steep(Module):
    """The gradient at one layer's output becomes `value`, and so of all that lies before it."""

    def __init__(self, at: int, layer: int, value: float = INF) -> None:
        super().__init__(at)
        self.layer, self.value = layer, value

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.batch += 1
        x = batch["x"]
        for number, layer in enumerate(self.net):
            x = layer(x)
            if number == self.layer and self.batch == self.at:
                x.register_hook(lambda gradient: gradient + self.value)
        return x.square().mean()


@pytest.mark.parametrize(
    ("layer", "first", "more"),
    [
        (2, r"net\.2\.\w+", ", then those of 3 others"),
        (0, r"net\.0\.\w+", ", then those of 1 other"),
    ],
)
@pytest.mark.parametrize("value", [NAN, -INF])
def test_the_first_gradient_is_named(
    tmp_path: Path, layer: int, first: str, more: str, value: float
) -> None:
    words = fit(tmp_path, Steep(2, layer, value), NanMonitor(gradients=True))
    told = rf"the gradient of {first} became (nan|inf){more}, the loss finite, in epoch 1, batch 3,"
    assert re.match(told, words), words


def test_without_asking_its_consequence_is_found(tmp_path: Path) -> None:
    words = fit(tmp_path, Steep(1, 2), NanMonitor())
    assert words.startswith("the loss became nan in epoch 1, batch 3, samples ")


def test_gradients_of_a_module_that_steps_by_hand(tmp_path: Path) -> None:
    class Both(Steep, ByHand):
        def __init__(self) -> None:
            Steep.__init__(self, 2, 2)
            self.automatic_optimization = False
            self.second = 1.0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = Steep.training_step(self, batch, batch_idx)
            self.manual_backward(loss)
            self.optimizers().zero_grad()  # so that the weights stay sound

    words = fit(tmp_path, Both(), NanMonitor(gradients=True))
    assert words.startswith("the gradient of net.2.")


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_run_that_goes_on_in_mid_epoch_is_watched_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    saved = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    fit(tmp_path, Steep(3, 2), NanMonitor(gradients=True), saved)
    module, watch = Steep(1, 2), NanMonitor(gradients=True)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = pl.Trainer(callbacks=[watch], max_epochs=2, **quiet)
    data = DataLoader(Data(), BATCH, seed=3, shuffle=True)
    with pytest.raises(NonFiniteLoss, match=r"the gradient of net\.2\..* epoch 1, batch 4"):
        trainer.fit(module, data, ckpt_path=folder / "step=2.ckpt")


def test_what_nobody_needs_is_not_called(tmp_path: Path) -> None:
    """Each hook of a callback costs a step a microsecond."""
    plain, steep, by_hand = NanMonitor(), NanMonitor(gradients=True), NanMonitor()
    fit(tmp_path, Steep(0, 2), plain)
    fit(tmp_path, Steep(0, 2), steep)
    fit(tmp_path, ByHand(0), by_hand)
    hooks = ("on_before_backward", "on_after_backward")
    called = [[callable(getattr(each, hook)) for hook in hooks] for each in (plain, steep, by_hand)]
    assert called == [[False, False], [False, True], [True, False]]


# -- what is saved ---------------------------------------------------------------------------


def test_statistics_of_batch_norm_count_as_weights_and_masks_do_not() -> None:
    module = Module()
    module.norm = nn.BatchNorm1d(2)
    module.register_buffer("mask", torch.full((2, 2), -INF))
    assert spoiled(module) == []
    module.norm.running_var[0] = NAN
    assert spoiled(module) == ["norm.running_var"]


def test_a_rescue_of_one_process_asks_no_other(tmp_path: Path) -> None:
    """After an exception the others don't take part in any agreement."""
    monitor = NanMonitor()
    monitor.setup(Alone(), Module(), "fit")  # type: ignore[arg-type]
    monitor.on_exception(Alone(), Module(), ValueError())  # type: ignore[arg-type]
    monitor.on_train_batch_end(Alone(), Module(), torch.tensor(NAN), None, 0)  # type: ignore[arg-type]
    with pytest.raises(NonFiniteLoss):
        monitor.on_save_checkpoint(Alone(), Module(), {})  # type: ignore[arg-type]


class Alone:
    """A trainer of one of two processes, whose strategy can't be asked."""

    world_size, current_epoch, train_dataloader, precision_plugin = 2, 0, None, None
    lightning_module = Module()

    @property
    def strategy(self) -> Any:
        raise AssertionError("the other process was asked")


# -- validation ------------------------------------------------------------------------------


class Validated(Module):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(NAN if self.current_epoch else 1.0))


def test_a_validation_loss_is_told_once_and_not_fatal(tmp_path: Path) -> None:
    watch = NanMonitor()
    said: list[str] = []
    watch.say = said.append
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(callbacks=[watch], max_epochs=4, accelerator="cpu", **quiet)
    data = DataLoader(Data(), BATCH, seed=3)
    trainer.fit(Validated(), data, data)
    assert said == ["val_loss is nan in the validation of epoch 2; training goes on"]
    assert trainer.current_epoch == 4


def test_a_spoiled_model_is_not_validated_first(tmp_path: Path) -> None:
    class Never(Steep):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            raise AssertionError("computed in vain")

        def val_dataloader(self) -> Any:
            return DataLoader(Data(), BATCH, seed=3)

    words = fit(tmp_path, Never(1, 2), NanMonitor(), num_sanity_val_steps=0)
    assert "batch 3" in words


# -- which samples ---------------------------------------------------------------------------


class Log(Module):
    """Its loss is infinite for a sample whose y is 5, whatever the weights."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("loss", 0.0)
        fit = super().training_step(batch, batch_idx)
        bad = (1 / (batch["y"] - 5).abs()).mean()
        return {"loss": fit + 0 * fit * bad + bad, "fit": fit, "barrier": bad}


def test_a_sample_that_holds_it(tmp_path: Path) -> None:
    data = DataLoader(Data(bad=9), BATCH, seed=3, shuffle=True)
    words = fit(tmp_path, Module(), NanMonitor(), data=data)
    assert words.endswith("; sample 9 has NaN in batch['x']")


def test_a_sample_whose_loss_it_is(tmp_path: Path) -> None:
    watch = NanMonitor()
    folder = tmp_path / "checkpoints"
    saved = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)

    def last() -> tuple[str, dict[str, Any]]:
        path = max(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        return path.name, torch.load(path, weights_only=True)

    watch.sound = last
    loader = DataLoader(Data(), BATCH, seed=5, shuffle=True)
    batch = next(i for i, each in enumerate(loader.epoch_batches()) if 5 in each)
    assert batch > 0  # else there is no checkpoint yet
    words = fit(tmp_path, Log(), watch, saved, data=loader)
    place, _, why = words.partition("; ")
    assert place.startswith(f"the loss became nan in epoch 1, batch {batch + 1}, samples ")
    assert why == (
        f"with the weights of step={batch}.ckpt the loss of sample 5 alone is nan (barrier)"
    )


def test_weights_that_ran_away(tmp_path: Path) -> None:
    module = Steep(1, 2)
    before = {"state_dict": {name: each.clone() for name, each in module.state_dict().items()}}
    watch = NanMonitor()
    watch.sound = lambda: ("step-0.ckpt", before)
    words = fit(tmp_path, module, watch)
    assert words.endswith("; with the weights of step-0.ckpt it is finite")
    assert spoiled(module)  # they are as they were
    assert all(each.training for each in module.modules())
    assert "log" not in vars(module)


class Lab(TrainLabModule):
    """Weights stay sound: the step is left out."""

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        for each in self.parameters():
            each.grad = None


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
@pytest.mark.parametrize("compiled", [True, False])
def test_parts_of_a_dict_of_losses(tmp_path: Path, compiled: bool) -> None:
    def losses(y_pred: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"plain": (y_pred - y).square().mean(), "log": (y_pred * 0 + y).log().mean()}

    def collate(samples: list[Any]) -> Any:
        x, y = (torch.stack([each[key] for each in samples]) for key in ("x", "y"))
        return x, {"y": y, "names": [f"no {int(each)}" for each in y]}

    model: Any = nn.Linear(1, 1)
    model = torch.compile(model, backend="eager") if compiled else model
    module = Lab(model, losses, {"optimizer": torch.optim.SGD})
    module.optimizer_config = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.1}}
    data = DataLoader(Data(), BATCH, seed=3, shuffle=True, collate_fn=collate)
    words = fit(tmp_path, module, NanMonitor(), data=data)
    assert words.endswith("; the loss of sample 0 alone is -inf (log)")


@pytest.mark.parametrize("several", [True, False])
def test_what_only_a_whole_batch_has(tmp_path: Path, several: bool) -> None:
    class Spread(Module):
        """Of one sample the loss is fine, of different ones it is not."""

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.batch += 1
            many = len(batch["x"]) > 1 if several else True
            return self.net(batch["x"]).sum() * 0 + (INF if many else 1)

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            for each in self.parameters():
                each.grad = None

    words = fit(tmp_path, Spread(), NanMonitor(1))
    whole = "it is inf again, but not of a sample alone"
    assert words.rpartition("; ")[2] == (whole if several else "the loss of each sample is inf")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda module: setattr(module, "transfer_batch_to_device", 1 / 3),
        lambda module: setattr(module, "training_step", lambda: None),
    ],
)
def test_what_can_not_be_found_out_is_left_unsaid(
    tmp_path: Path, spoil: Callable[[Any], None]
) -> None:
    class Once(Steep):
        def on_train_batch_end(self, *args: Any) -> None:
            if self.batch == 2:
                spoil(self)

    module = Once(1, 2)
    watch = NanMonitor(1)
    before = {"state_dict": {name: each.clone() for name, each in module.state_dict().items()}}
    watch.sound = lambda: ("step-0.ckpt", before)
    words = fit(tmp_path, module, watch)
    assert words.startswith("the loss became nan in epoch 1, batch 3, samples ")
