"""Accumulated gradients are those of one big batch; compared with a loop in plain torch."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.loops.optimization.automatic import _AutomaticOptimization
from torch import nn
from torch.utils.data import IterableDataset

from torch_lab.callbacks import RunCheckpoint
from torch_lab.data import DataLoader, sharing
from torch_lab.engine import trainer as trainers
from torch_lab.engine.lightning.accumulation import Optimization, sizes_of, weights
from torch_lab.engine.savepoints import SavePoints
from torch_lab.engine.stop import StopRequest

SAMPLES, BATCH, EPOCHS, CLIP = 43, 8, 3, 0.05
X = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))
Y = X.square().sum(1, keepdim=True)


class Data(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, i: int) -> Any:
        return X[i], Y[i]


class Stream(IterableDataset[Any]):
    """Batches of 8 and a last one of 3; nobody knows how many."""

    def __iter__(self) -> Iterator[Any]:
        return iter((X[s : s + BATCH], Y[s : s + BATCH]) for s in range(0, SAMPLES, BATCH))


class Whole(Data):
    """Its items are whole batches already."""

    def __len__(self) -> int:
        return -(-SAMPLES // BATCH)

    def __getitem__(self, i: int) -> Any:
        return X[i * BATCH : (i + 1) * BATCH], Y[i * BATCH : (i + 1) * BATCH]


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        self.seen: list[float] = []
        self.out: list[float] = []

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(self.net(x.double()), y.double())

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = self.loss(*batch)
        self.log("loss", loss)
        self.seen.append(float(loss.detach()))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.out.append(float(outputs["loss"]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)


class ByHand(Module):
    """Steps every third batch, as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = self.loss(*batch)
        self.manual_backward(loss / 3)
        if batch_idx % 3 == 2:
            self.optimizers().step()
            self.optimizers().zero_grad()
        return loss


def train(folder: Path, loader: Any, *callbacks: pl.Callback, **init: Any) -> Any:
    said: list[str] = []
    module = init.pop("module", None) or Module()
    points = SavePoints(RunCheckpoint(), None, StopRequest(30), None, say=said.append)
    init = {"max_epochs": EPOCHS, "accelerator": "cpu", "logger": None} | init
    init |= {"enable_progress_bar": False, "num_sanity_val_steps": 0}
    logger = init.pop("logger")
    trainer = trainers.build(init, callbacks, directory=folder, logger=logger, savepoints=points)
    with trainers.quiet():
        trainer.fit(module, loader)
    return module, said


def expected(epochs: Sequence[Sequence[Sequence[int]]], clip: float | None = None) -> Module:
    """Training on whole windows of samples, `epochs` of them."""
    module = Module()
    optimizer = module.configure_optimizers()
    for epoch in epochs:
        for window in epoch:
            optimizer.zero_grad()
            module.loss(X[list(window)], Y[list(window)]).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
    return module


def windows(batches: Sequence[Sequence[int]], window: int) -> list[list[int]]:
    starts = range(0, len(batches), window)
    return [[i for batch in batches[s : s + window] for i in batch] for s in starts]


def epochs_of(loader: DataLoader, *window: int, limit: int | None = None) -> list[list[list[int]]]:
    found = []
    for epoch, size in enumerate(window):
        loader.set_epoch(epoch)
        found.append(windows(loader.epoch_batches()[:limit], size))
    return found


def assert_equal(got: Module, wanted: Module) -> None:
    for one, other in zip(got.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def loader(**kwargs: Any) -> DataLoader:
    return DataLoader(Data(), seed=7, **({"batch_size": BATCH, "shuffle": True} | kwargs))


def bare(folder: Path, module: Module, **init: Any) -> Module:
    """What Lightning alone makes of it."""
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": False}
    made = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", default_root_dir=folder, **quiet, **init
    )
    made.fit(module, loader())
    return module


@pytest.mark.parametrize("window", [2, 3, 4, 50])
def test_each_step_is_that_of_one_big_batch(tmp_path: Path, window: int) -> None:
    module, said = train(tmp_path, loader(), accumulate_grad_batches=window)
    assert_equal(module, expected(epochs_of(loader(), *[window] * EPOCHS)))
    assert said == []


def test_which_lightning_alone_does_not_do(tmp_path: Path) -> None:
    """Else the others would prove nothing."""
    got = bare(tmp_path, Module(), accumulate_grad_batches=4)
    with pytest.raises(AssertionError):
        assert_equal(got, expected(epochs_of(loader(), 4, 4, 4)))


def test_clipping_sees_the_gradient_of_the_big_batch(tmp_path: Path) -> None:
    module, _ = train(tmp_path, loader(), accumulate_grad_batches=4, gradient_clip_val=CLIP)
    assert_equal(module, expected(epochs_of(loader(), 4, 4, 4), CLIP))
    with pytest.raises(AssertionError):
        assert_equal(module, expected(epochs_of(loader(), 4, 4, 4)))


def test_batches_of_a_users_own_sizes(tmp_path: Path) -> None:
    order = list(range(SAMPLES))
    cuts = [0, 1, 6, 20, 22, 23, 40, SAMPLES]
    batches = [order[a:b] for a, b in itertools.pairwise(cuts)]
    data = DataLoader(Data(), batch_sampler=batches, seed=7)
    module, said = train(tmp_path, data, accumulate_grad_batches=3)
    assert_equal(module, expected([windows(batches, 3)] * EPOCHS))
    assert said == []


def test_limits_and_schedules(tmp_path: Path) -> None:
    schedule = GradientAccumulationScheduler({0: 1, 1: 3, 2: 4})
    module, _ = train(tmp_path, loader(), schedule, limit_train_batches=5)
    assert_equal(module, expected(epochs_of(loader(), 1, 3, 4, limit=5)))


class Widening(pl.Callback):
    """Changes the window in mid-epoch, between two windows."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        trainer.accumulate_grad_batches = 2 if batch_idx < 4 else 4


def test_a_window_changed_in_mid_epoch(tmp_path: Path) -> None:
    module, _ = train(tmp_path, loader(), Widening(), accumulate_grad_batches=2)
    epochs = []
    for epoch in range(EPOCHS):
        data = loader()
        data.set_epoch(epoch)
        batches = data.epoch_batches()
        epochs.append([*windows(batches[:4], 2), *windows(batches[4:], 2)])
    assert_equal(module, expected(epochs))


def test_what_hooks_and_logs_see_stays_as_it_was(tmp_path: Path) -> None:
    module, _ = train(tmp_path, loader(), accumulate_grad_batches=4)
    assert module.out == pytest.approx([loss / 4 for loss in module.seen])


@pytest.mark.parametrize("window", [1, 2])
def test_whole_windows_are_bit_for_bit_lightnings(tmp_path: Path, window: int) -> None:
    init = {"accumulate_grad_batches": window, "limit_train_batches": 4}
    module, _ = train(tmp_path, loader(), **init)
    for one, other in zip(
        module.parameters(), bare(tmp_path, Module(), **init).parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_optimization_by_hand_is_left_alone(tmp_path: Path) -> None:
    module, _ = train(tmp_path, loader(), module=ByHand())
    for one, other in zip(module.parameters(), bare(tmp_path, ByHand()).parameters(), strict=True):
        assert torch.equal(one, other)


def test_where_only_the_number_of_batches_is_known(tmp_path: Path) -> None:
    data = torch.utils.data.DataLoader(Whole(), batch_size=None)
    init = {"accumulate_grad_batches": 4, "limit_train_batches": 5}  # 4 and 1, all of eight
    module, said = train(tmp_path, data, **init)
    order = [list(range(s, s + BATCH)) for s in range(0, 5 * BATCH, BATCH)]
    assert_equal(module, expected([windows(order, 4)] * EPOCHS))
    assert len(said) == 1
    assert "how many samples a batch of DataLoader holds isn't known" in said[0]


def test_where_nothing_is_known_it_is_lightnings_way_and_said(tmp_path: Path) -> None:
    data = torch.utils.data.DataLoader(Stream(), batch_size=None)
    module, said = train(tmp_path, data, accumulate_grad_batches=4)
    assert module.out == pytest.approx([loss / 4 for loss in module.seen])
    assert len(said) == 1
    assert "how many batches an epoch has isn't known" in said[0]
    assert "a 4th each" in said[0]


class Two(Module):
    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loss(*batch["a"]) + self.loss(*batch["b"])


@pytest.mark.parametrize(("size", "said_of_it"), [(BATCH, 0), (6, 1)])
def test_several_loaders(tmp_path: Path, size: int, said_of_it: int) -> None:
    """Alike they are weighed; else batches are counted, and that is said."""
    loaders = {"a": loader(), "b": loader(batch_size=size)}
    _, said = train(tmp_path, loaders, module=Two(), accumulate_grad_batches=4)
    assert len(said) == said_of_it


def test_weights() -> None:
    assert weights([(8, 8)] * 6, 3) == {}
    assert weights([(8, 8)] * 4, 3) == {3: 3.0}
    assert weights([(8, 8), (8, 8), (8, 8), (2, 2)], 2) == {2: 1.6, 3: 0.4}
    assert weights([(8, 6), (8, 10)], 2) == {}
    assert weights([(8, 6), (8, 6)], 2) == {0: 8 / 6, 1: 8 / 6}
    assert weights([], 2) == {}


def test_sizes_of_several_loaders() -> None:
    paired, even, uneven = loader(), loader(drop_last=True), loader(batch_size=6)
    assert sizes_of([paired]) == [(8, 8)] * 5 + [(3, 3)]
    assert sizes_of([paired, loader(shuffle=False)]) == sizes_of([paired])
    assert sizes_of([even, loader(batch_size=1)]) == [(1, 1)] * SAMPLES
    assert sizes_of([paired, uneven]) is None
    assert sizes_of([paired, [1, 2]]) is None
    assert sizes_of([loader(batch_size=None, shuffle=False)]) is None
    assert sizes_of([]) is None


@pytest.mark.parametrize("own_batches", [True, False])
def test_shares_of_all_processes_together(
    monkeypatch: pytest.MonkeyPatch, own_batches: bool
) -> None:
    """The mean over processes of what a rank's samples count is what one process would do."""
    batches = [[0], [1, 2, 3], [4, 5], [6, 7, 8, 9], [10], [11, 12]]
    made = []
    for rank in range(2):
        monkeypatch.setattr(sharing, "world", lambda rank=rank: (rank, 2))
        data = loader(shuffle=False)
        if own_batches:
            data = DataLoader(Data(), batch_sampler=batches, seed=7)
        sizes = data.batch_sizes()
        assert sizes is not None
        assert [own for own, _ in sizes] == [len(batch) for batch in data.epoch_batches()]
        made.append((sizes, weights(sizes, 3)))
    for start in range(0, len(made[0][0]), 3):
        window = range(start, min(start + 3, len(made[0][0])))
        everyone = sum(sizes[b][0] for sizes, _ in made for b in window)
        for sizes, factors in made:
            for b in window:  # DDP takes the mean over 2 processes, Lightning a third of each
                share = factors.get(b, 1) / 3 / 2
                assert share == pytest.approx(sizes[b][0] / everyone)


def test_lightning_still_makes_its_closures_of_this() -> None:
    """Fails by name when a new Lightning moves what accumulation.py touches."""
    made = Optimization(pl.Trainer(logger=False, accelerator="cpu"), print)
    assert isinstance(made, _AutomaticOptimization)
    step = inspect.getsource(_AutomaticOptimization._training_step)
    assert "trainer.accumulate_grad_batches)" in step
    closure = inspect.getsource(_AutomaticOptimization._make_step_fn)
    assert "self._training_step" in closure
