from __future__ import annotations

import io
import math
import pickle
import re
import sys
import time

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from torch.utils.data import DataLoader, IterableDataset

from torch_lab.callbacks import progress
from torch_lab.callbacks.progress import EpochProgress, Pace
from torch_lab.store.console import Console

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning_fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
]


class Screen(io.StringIO):
    def isatty(self):
        return True


class Module(pl.LightningModule):
    def __init__(self, pause: float = 0.0) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(self.layer.weight, 1.0)  # else a loss may be shown as 9.1e-05
        self.pause = pause

    def training_step(self, batch, batch_idx):
        time.sleep(self.pause)
        loss = self.layer(batch).square().mean()
        self.log("loss/train", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("loss/validate", self.layer(batch).square().mean())

    def test_step(self, batch, batch_idx):
        self.log("loss/test", self.layer(batch).square().mean())

    def predict_step(self, batch, batch_idx):
        return self.layer(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Endless(IterableDataset):
    def __iter__(self):
        return iter(torch.ones(12, 2))


def loader(count: int = 12) -> DataLoader:
    return DataLoader(torch.ones(count, 2), batch_size=2)


def trainer(callback: EpochProgress, **kwargs) -> pl.Trainer:
    defaults = {
        "max_epochs": 3,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "callbacks": [callback],
    }
    return pl.Trainer(**(defaults | kwargs))


def lines(stream: io.StringIO) -> list[str]:
    assert "\r" not in stream.getvalue()
    assert stream.getvalue().endswith("\n")
    return stream.getvalue().splitlines()


def drawn(stream: io.StringIO) -> list[str]:
    return re.findall(r"\r([^\r\n\x1b]+)\x1b\[K", stream.getvalue())


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    return Screen()


def test_a_pipe_gets_one_line_an_epoch():
    stream = io.StringIO()
    trainer(EpochProgress(stream)).fit(Module(), loader(), loader())
    number = r"\d\.\d+"
    for i, line in enumerate(lines(stream)):
        pattern = rf"epoch {i + 1}/3  loss/train {number}  loss/validate {number}  \(\d\.\d s\)"
        assert re.fullmatch(pattern, line), line
    assert len(lines(stream)) == 3


def test_lightning_adds_no_bar_of_its_own():
    made = trainer(EpochProgress(io.StringIO()))
    assert [type(c) for c in made.callbacks if isinstance(c, ProgressBar)] == [EpochProgress]


def test_a_terminal_gets_a_live_line_that_is_gone_in_the_end(screen):
    trainer(EpochProgress(screen)).fit(Module(0.002), loader(), loader())
    shown = drawn(screen)
    assert shown[0] == f"epoch 1/3 {'─' * 20} 0/6"
    pattern = r"epoch 2/3 ━{10}─{10} 3/6 · loss \d\.\d+ · [\d.]+ it/s · 0:\d\d left"
    assert any(re.fullmatch(pattern, line) for line in shown), shown
    assert any(line.startswith("epoch 1/3 validate ━━━") for line in shown)
    for line in screen.getvalue().split("\n")[:-1]:
        last_state = line.rpartition("\r")[2]
        assert re.match(r"(\x1b\[K)?epoch \d/3  loss/train", last_state), line


def test_the_live_line_is_redrawn_some_times_a_second(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    began = time.monotonic()
    trainer(EpochProgress(screen), max_epochs=1).fit(Module(), loader(2000))
    assert 1 <= len(drawn(screen)) <= 8 * (time.monotonic() - began) + 3


def test_a_batch_without_a_redraw_costs_next_to_nothing():
    callback = EpochProgress(io.StringIO())
    began = time.perf_counter()
    for i in range(10_000):
        callback.on_train_batch_end(None, None, None, None, i)
    assert (time.perf_counter() - began) / 10_000 < 20e-6


def test_metrics_of_an_earlier_epoch_are_not_shown_again():
    stream = io.StringIO()
    trainer(EpochProgress(stream), check_val_every_n_epoch=2).fit(Module(), loader(), loader())
    assert ["loss/validate" in line for line in lines(stream)] == [False, True, False]


def test_metrics_logged_in_the_modules_last_hook_are_shown():
    class Late(Module):
        def on_train_epoch_end(self):
            self.log("late/train", float(self.current_epoch))

    stream = io.StringIO()
    trainer(EpochProgress(stream)).fit(Late(), loader())
    assert [re.search(r"late/train (\d)", line)[1] for line in lines(stream)] == ["0", "1", "2"]


def test_training_comes_first_and_each_metric_once():
    class Both(Module):
        def validation_step(self, batch, batch_idx):
            self.log(
                "loss/validate", self.layer(batch).square().mean(), on_step=True, on_epoch=True
            )

    stream = io.StringIO()
    trainer(EpochProgress(stream)).fit(Both(), loader(), loader())
    assert [word for word in lines(stream)[1].split() if "/" in word] == [
        "2/3",
        "loss/train",
        "loss/validate",
    ]


def test_no_metrics_is_no_error():
    class Silent(Module):
        def training_step(self, batch, batch_idx):
            return self.layer(batch).sum()

    stream = io.StringIO()
    trainer(EpochProgress(stream), max_epochs=1).fit(Silent(), loader())
    assert re.fullmatch(r"epoch 1/1  \(\d\.\d s\)\n", stream.getvalue())


def test_nan_is_shown_as_it_is(screen):
    class Diverging(Module):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * math.nan

    trainer(EpochProgress(screen), max_epochs=1).fit(Diverging(), loader())
    assert any("loss nan" in line for line in drawn(screen))


def test_many_metrics_are_cut():
    class Chatty(Module):
        def training_step(self, batch, batch_idx):
            self.log_dict(
                {f"m{i}/train": float(i) for i in range(30)}, on_step=False, on_epoch=True
            )
            return super().training_step(batch, batch_idx)

    stream = io.StringIO()
    trainer(EpochProgress(stream), max_epochs=1).fit(Chatty(), loader())
    assert "m10/train 10  … 19 more  (" in stream.getvalue()


@pytest.mark.parametrize(
    ("limits", "pattern"),
    [
        ({"max_epochs": 2}, r"epoch 1/2 6 batches · loss \S+ · [\d.]+ it/s"),
        (
            {"max_epochs": -1, "max_steps": 6},
            r"epoch 1 ━{10}─{10} 3/6 · loss \S+ · [\d.]+ it/s · 0:\d\d left",
        ),
    ],
)
def test_an_unknown_number_of_batches_has_no_bar_unless_steps_say_it(screen, limits, pattern):
    endless = DataLoader(Endless(), batch_size=2)
    trainer(EpochProgress(screen), **limits).fit(Module(0.002), endless)
    assert any(re.fullmatch(pattern, line) for line in drawn(screen)), drawn(screen)


def test_without_a_last_epoch_the_time_is_that_of_the_epoch(screen):
    from datetime import timedelta

    made = trainer(EpochProgress(screen), max_epochs=-1, max_time=timedelta(seconds=0.2))
    made.fit(Module(0.005), loader())
    assert any(line.endswith(" left in epoch") for line in drawn(screen)), drawn(screen)
    assert any(line.startswith("epoch 1 ━") for line in drawn(screen))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_loss_shown_is_the_steps_own(screen, accumulate):
    class Constant(Module):
        def training_step(self, batch, batch_idx):
            return self.layer(batch).sum() * 0 + 2.5

    made = trainer(EpochProgress(screen), max_epochs=1, accumulate_grad_batches=accumulate)
    made.fit(Constant(), loader())
    assert any("loss 2.5 " in line for line in drawn(screen))


def test_the_loss_a_module_keeps_comes_first(screen):
    module = Module()
    module.last_loss = torch.tensor(7.0)
    trainer(EpochProgress(screen), max_epochs=1).fit(module, loader())
    assert any("loss 7 " in line for line in drawn(screen))


def test_validation_test_and_prediction_say_what_they_found(screen):
    callback = EpochProgress(screen)
    made = trainer(callback)
    module = Module()
    made.validate(module, loader(), verbose=False)
    made.test(module, loader(), verbose=False)
    made.predict(module, loader(), return_predictions=False)
    text = screen.getvalue()
    assert re.search(r"validate  loss/validate \d\.\d+  \(0\.\d s\)\n", text)
    assert re.search(r"test  loss/test \d\.\d+  \(0\.\d s\)\n", text)
    assert re.search(r"predict  6 batches  \(0\.\d s\)\n", text)
    assert any(line.startswith(f"predict {'━' * 20} 6/6") for line in drawn(screen))


def test_the_sanity_check_says_nothing(screen):
    trainer(EpochProgress(screen), max_epochs=1, num_sanity_val_steps=2).fit(
        Module(), loader(), loader()
    )
    assert not any(line.startswith("validate") for line in drawn(screen))
    assert screen.getvalue().count("\n") == 1


def test_an_exception_takes_the_live_line_away(screen):
    class Failing(Module):
        def training_step(self, batch, batch_idx):
            if self.current_epoch == 1 and batch_idx == 3:
                raise ValueError("bad batch")
            return super().training_step(batch, batch_idx)

    with pytest.raises(ValueError, match="bad batch"):
        trainer(EpochProgress(screen)).fit(Failing(), loader())
    assert screen.getvalue().endswith("\r\x1b[K")
    assert screen.getvalue().count("\n") == 1


def test_another_rank_writes_nothing(screen):
    class Second(EpochProgress):
        def setup(self, trainer, pl_module, stage):
            super().setup(trainer, pl_module, stage)
            self.disable()  # what Lightning does where the rank is not 0

    callback = Second(screen)
    made = trainer(callback)
    made.fit(Module(), loader(), loader())
    assert screen.getvalue() == ""
    callback.enable()
    assert callback._enabled


def test_a_terminal_without_the_characters_gets_plain_ones(screen):
    class Plain(Screen):
        encoding = "ascii"

    plain = Plain()
    trainer(EpochProgress(plain), max_epochs=1).fit(Module(0.002), loader())
    assert any(
        line.startswith("epoch 1/1 ##########---------- 3/6 | loss") for line in drawn(plain)
    )


def test_in_a_run_the_lines_are_logged_and_the_live_line_is_not(tmp_path, screen, monkeypatch):
    class Talking(Module):
        def training_step(self, batch, batch_idx):
            if batch_idx == 3:
                print("from the module")
            return super().training_step(batch, batch_idx)

    monkeypatch.setattr(sys, "stdout", screen)
    with Console(tmp_path / "console.log"):
        trainer(EpochProgress(), max_epochs=2).fit(Talking(0.002), loader())
    logged = (tmp_path / "console.log").read_text()
    assert len(re.findall(r"^epoch \d/2  loss/train", logged, re.MULTILINE)) == 2
    assert "━" not in logged
    assert "\r" not in logged
    assert screen.getvalue().count("\x1b[K\r\x1b[Kfrom the module\n") == 2
    assert drawn(screen)


def test_a_spawned_rank_can_have_it(screen):
    callback = EpochProgress(screen)
    trainer(callback, max_epochs=1).fit(Module(), loader())
    copy = pickle.loads(pickle.dumps(callback))
    trainer(copy, max_epochs=1).fit(Module(), loader())


def test_the_pace_follows_and_leaves_pauses_out():
    pace = Pace()
    assert pace.text == ""
    pace.reach(0, 0.0)
    pace.reach(100, 1.0)
    assert pace.text == "100 it/s"
    pace.skip(10.0)
    pace.reach(200, 12.0)
    assert pace.rate == pytest.approx(100)
    pace.reach(201, 22.0)
    assert pace.rate < 10
    pace.reach(201, 23.0)  # no batch is no news
    assert pace.rate < 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0:01 left"), (59.5, "1:00 left"), (754, "12:34 left"), (7322, "2:02:02 left")],
)
def test_time_left(seconds, text):
    assert progress._left(seconds) == text
